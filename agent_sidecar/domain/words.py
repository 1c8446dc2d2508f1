"""Words: tokens, whole-word phrases that mind negation, sentiment from a small lexicon."""

import math
import re
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
# a word, or what ends a clause
_PIECE = re.compile(rf"{_TOKEN.pattern}|[.,;:!?\u2013\u2014]")
_QUESTION_MARKS = re.compile(r"\?+")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'"})

NEGATORS = frozenset(
    "no not never none nothing neither nor without hardly barely cannot can't don't doesn't didn't "
    "won't wouldn't isn't aren't wasn't weren't shouldn't couldn't haven't hasn't ain't".split()
)
# how many words before a word, in its clause, may turn it round
REACH = 3
# opening a clause, these answer somebody; they negate at most the very next word ("no problem")
_ANSWERS = frozenset({"no", "nope"})

# what a word says about the speaker's mood towards the talk, -1..1
_MOOD = {
    1.0: "love excellent amazing perfect fantastic wonderful awesome excited definitely absolutely",
    0.7: "great good glad happy nice interested interesting helpful thanks thank sure yes like "
    "enjoy exactly appreciate impressive sounds cool best better curious agree deal ready worth",
    0.4: "okay ok fine maybe possible fair open right useful easy hope welcome true works",
    -0.4: "but unsure doubt expensive busy hard difficult late worried worry concern tired risk "
    "problem confused unfortunately sorry boring cold slow",
    -0.7: "bad no nope waste hate stupid wrong annoying pushy afraid scared suspicious useless "
    "ridiculous tough hang stop leave fake lost",
    -1.0: "scam fraud terrible awful horrible angry liar lie lies worst ripoff disgusting",
}
MOOD: dict[str, float] = {word: mood for mood, words in _MOOD.items() for word in words.split()}


def tokens(text: str) -> list[str]:
    """Return the words of a text, lower case, with their apostrophes."""
    return _TOKEN.findall(text.lower().translate(_APOSTROPHES))


def question_count(text: str) -> int:
    """Return how many questions are asked: question marks, else an opening question word."""
    marks = len(_QUESTION_MARKS.findall(text))
    if marks:
        return marks
    words = tokens(text)
    return int(bool(words) and words[0] in _ASKING and len(words) > 2)


_ASKING = frozenset("how what when where who why which can could would is are do does will".split())


def sentiment(text: str) -> float:
    """Return the mood of a text, -1 (against) to 1 (for); 0 when no word tells.

    Each word of the lexicon counts with its mood, turned round by 0.7 when one of the `REACH` words
    before it in its clause negates; the sum is squashed as VADER does it (Hutto & Gilbert 2014):
    s / sqrt(s^2 + k).
    """
    total = 0.0
    words, clauses = _words_and_clauses(text)
    for index, word in enumerate(words):
        mood = MOOD.get(word)
        if mood is None or _only_turns_next(words, clauses, index):
            continue
        negated = word not in NEGATORS and _is_negated(words, clauses[index], index, index)
        total += -0.7 * mood if negated else mood
    return total / math.sqrt(total * total + 2.0)


def _only_turns_next(words: list[str], clauses: list[int], index: int) -> bool:
    """Say whether the word is the “no” of “no problem”, which has no mood of its own."""
    if words[index] not in _ANSWERS or index + 1 == len(words):
        return False
    following = words[index + 1]
    in_clause = clauses[index + 1] == clauses[index]
    return in_clause and following in MOOD and following not in NEGATORS


class Phrases:
    """Finds whole-word phrases; one that a negation precedes in its clause does not count.

    A phrase that is a negation itself ("do not call") always counts: people repeat such words, and
    hardly ever turn them round.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        # by first word: (words of the phrase, the phrase as written)
        self._by_first: dict[str, list[tuple[list[str], str]]] = {}
        for phrase in phrases:
            if words := tokens(phrase):
                self._by_first.setdefault(words[0], []).append((words, phrase))

    def find(self, text: str) -> list[str]:
        """Return the phrases said in the text, in its order."""
        words, clauses = _words_and_clauses(text)
        found = []
        for index, word in enumerate(words):
            for phrase, written in self._by_first.get(word, ()):
                end = index + len(phrase)
                if words[index:end] != phrase:
                    continue
                negates = not NEGATORS.isdisjoint(phrase)
                if negates or not _is_negated(words, clauses[index], index, end - 1):
                    found.append(written)
        return found


def _words_and_clauses(text: str) -> tuple[list[str], list[int]]:
    """Return the words of a text, and for each where its clause begins."""
    words: list[str] = []
    clauses: list[int] = []
    begins = 0
    for piece in _PIECE.findall(text.lower().translate(_APOSTROPHES)):
        if piece[0].isalnum():
            words.append(piece)
            clauses.append(begins)
        else:
            begins = len(words)
    return words, clauses


def _is_negated(words: list[str], clause: int, first: int, last: int) -> bool:
    """Say whether the words from `first` to `last` follow a negation in the clause."""
    return any(
        words[at] in NEGATORS and (at > clause or words[at] not in _ANSWERS or last == at + 1)
        for at in range(max(clause, first - REACH), first)
    )


def key_phrases(texts: Iterable[str], *, most: int = 12) -> list[tuple[str, list[int]]]:
    """Return the phrases said most often, each with the index of its text for every time.

    Runs of one to three content words; one that only ever occurs inside a longer one is left out.
    All but pairs, which tell most, must occur twice.
    """
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        for run in _content_runs(text):
            places.setdefault(" ".join(run), []).append(index)
    kept = {
        phrase: found
        for phrase, found in places.items()
        if len(found) > 1 or len(phrase.split()) == 2
    }
    inside = {
        part
        for phrase, found in kept.items()
        for part in map(" ".join, _runs(phrase.split()))
        if part != phrase and len(found) >= len(places[part])
    }
    ranked = sorted(
        (item for item in kept.items() if item[0] not in inside),
        key=lambda item: (-len(item[1]), -len(item[0].split()), item[0]),
    )
    return ranked[:most]


def _content_runs(text: str) -> Iterator[list[str]]:
    run: list[str] = []
    for word in tokens(text):
        if word not in _COMMON and len(word) > 2:
            run.append(word)
        else:
            yield from _runs(run)
            run = []
    yield from _runs(run)


def _runs(words: list[str]) -> Iterator[list[str]]:
    """Yield every run of one to three of these words."""
    for size in (1, 2, 3):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


_COMMON = frozenset(
    "the and for are but not you your yours all any can had her was one our out day get has him "
    "his how man new now old see two way who boy did its let put say she too use that with have "
    "this will from they know want been good much some time very when come here just like long "
    "make many more only over such take than them well were what would there their about which "
    "could other these then into your also because does doing don't it's i'm i've i'll you're "
    "that's isn't didn't can't won't yeah yes okay really thing things something anything maybe "
    "think going gonna got lot sure right mean kind actually where why how's what's let's he's "
    "she's they're we're".split()
)
