"""Mood: what the words of a line say about the speaker's feeling, -1 (against) to 1 (for).

A lexicon and the rules by which people turn its words: idioms, negation, intensifiers, hedges,
contrast (“nice, but …”), and what an answer opens with (“yeah, no”). The rules follow VADER
(Hutto & Gilbert 2014); the words are those of people on the phone who are asked for something.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from agent_sidecar.domain.mood_words import (
    COLD_LINES,
    DEGREES,
    MOOD_IDIOMS,
    MOOD_WORDS,
    PAUSED_IDIOMS,
    WARM_LINES,
)
from agent_sidecar.domain.types import Vector
from agent_sidecar.domain.words import NEGATORS, REACH, is_negated, words_and_clauses

MOOD = {word: mood for mood, words in MOOD_WORDS.items() for word in words.split()}
_DEGREES = {word: factor for factor, words in DEGREES.items() for word in words.split()}
# by first word, the longest first
_IDIOMS: dict[str, list[tuple[tuple[str, ...], float]]] = {}
for _mood, _phrases in MOOD_IDIOMS.items():
    for _phrase in _phrases.split("|"):
        _IDIOMS.setdefault(_phrase.split()[0], []).append((tuple(_phrase.split()), _mood))
for _entries in _IDIOMS.values():
    _entries.sort(key=lambda entry: -len(entry[0]))

# a negated word is turned round, and weaker: "not great" is less than "bad"
NEGATED = -0.7
# a denial of something without a mood ("I can't do that") is a little cold in itself
DENIAL = -0.25
# a “no” in an answer of more words than this is only the beginning of it
BARE_NO, NO_AND_MORE = 2, 0.7
# what stands before a contrast counts less, what follows it more
BEFORE_CONTRAST, AFTER_CONTRAST = 0.5, 1.3
_CONTRASTS = frozenset({"but", "however", "except"})
# "!" up to this often, and words in capitals, make it stronger
_SHOUT, _MOST_SHOUTS = 0.15, 3
# the sum of one very warm word is 0.58, of three 0.9
_SOFT = 2.0
# a vector leans to the side whose nearest lines are nearer in the mean; so much apart is neither,
# and each tenth beyond counts as much as a warm word
NEAREST, UNDECIDED, LEANING = 3, 0.05, 6.0
_DENYING = NEGATORS | {"regret"}
_CAPITALS = re.compile(r"\b[A-Z]{3,}\b")


def sentiment(text: str, leaning: float = 0.0) -> float:
    """Return the mood of a text, -1 (against) to 1 (for); 0 when nothing tells.

    `leaning` is what its vector adds, as `Leaning.of` tells it.
    """
    words, clauses = words_and_clauses(text)
    told = list(_told(words, clauses))
    turn = max((at for at, word in enumerate(words) if word in _CONTRASTS and at), default=None)
    total = 0.0
    for at, mood in told:
        if turn is not None:
            mood *= BEFORE_CONTRAST if at < turn else AFTER_CONTRAST
        total += mood
    total *= 1.0 + _SHOUT * _emphasis(text)
    total += leaning
    return total / math.sqrt(total * total + _SOFT)


def says_yes_with_no(text: str) -> bool:
    """Say whether a line goes along in words of denial: “no problem”, “not bad at all”."""
    words, clauses = words_and_clauses(text)
    for at in range(len(words)):
        idiom = _idiom(words, clauses, at)
        if idiom is not None and idiom[1] > 0 and _DENYING & set(words[at : at + idiom[0]]):
            return sentiment(text) > 0
    return False


class Leaning:
    """Whether a vector lies nearer to warm lines or to cold ones: what words alone do not say."""

    def __init__(self, vectors: Mapping[str, Vector]) -> None:
        warm = [vectors[line] for line in WARM_LINES if line in vectors]
        cold = [vectors[line] for line in COLD_LINES if line in vectors]
        self._sides = (np.stack(warm), np.stack(cold)) if warm and cold else None

    def of(self, vector: Vector | None) -> float:
        """Return how much mood a vector adds; 0 near the middle, or for one of another model."""
        if vector is None or self._sides is None or vector.size != self._sides[0].shape[1]:
            return 0.0
        warm, cold = (float(np.sort(side @ vector)[-NEAREST:].mean()) for side in self._sides)
        apart = warm - cold
        # a vector that is no number is on no side
        beyond = abs(apart) - UNDECIDED
        return math.copysign(LEANING * beyond, apart) if beyond > 0.0 else 0.0


def _told(words: Sequence[str], clauses: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Yield what each word or idiom says, with its place."""
    at = 0
    while at < len(words):
        idiom = _idiom(words, clauses, at)
        if idiom is not None:
            size, mood = idiom
            yield at, mood
            at += size
            continue
        if (mood := _word(words, clauses, at)) != 0.0:
            yield at, mood
        at += 1


def _idiom(words: Sequence[str], clauses: Sequence[int], at: int) -> tuple[int, float] | None:
    for idiom, mood in _IDIOMS.get(words[at], ()):
        end = at + len(idiom)
        if words[at:end] != idiom:
            continue
        if clauses[end - 1] != clauses[at] and " ".join(idiom) not in PAUSED_IDIOMS:
            continue
        turned = mood > 0 and is_negated(words, clauses[at], at, end - 1)
        return len(idiom), NEGATED * mood if turned else mood
    return None


def _word(words: Sequence[str], clauses: Sequence[int], at: int) -> float:
    word = words[at]
    if word in NEGATORS and word != "no":
        told = any(other in MOOD for other in words[at + 1 : at + 1 + REACH])
        return 0.0 if told else MOOD.get(word, DENIAL)
    mood = MOOD.get(word, 0.0)
    if word == "no":
        # the “no” of “no problem” has no mood of its own; one inside a clause only denies
        following = words[at + 1] if at + 1 < len(words) and clauses[at + 1] != at + 1 else ""
        if following in MOOD and following not in NEGATORS:
            return 0.0
        if clauses[at] != at:
            return DENIAL
        # what is said after “no” says more than it
        return mood if len(words) <= BARE_NO else NO_AND_MORE * mood
    if mood == 0.0:
        return 0.0
    for before in words[max(clauses[at], at - 2) : at]:
        mood *= _DEGREES.get(before, 1.0)
    return NEGATED * mood if is_negated(words, clauses[at], at, at) else mood


def _emphasis(text: str) -> int:
    shouts = text.count("!")
    # a text all in capitals is a way to write, not to speak
    if text != text.upper():
        shouts += len(_CAPITALS.findall(text))
    return min(_MOST_SHOUTS, shouts)
