"""How a line is said: cues that mean the same in any conversation, as numbers for scoring.

What was fitted depends on every list and number here: a change needs a new `FEATURES` number in
`score_context` and fitting anew.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# how many words after a negation, in its clause, it turns round
REACH = 3

NEGATORS = frozenset(
    "no not never none nothing neither nor nobody without hardly barely cannot can't don't "
    "doesn't didn't won't wouldn't isn't aren't wasn't weren't shouldn't couldn't haven't hasn't "
    "ain't dont doesnt didnt cant wont".split()
)
_YES = frozenset(
    "yes yeah yea yep yup sure ok okay alright fine definitely absolutely certainly exactly right "
    "true agree agreed course totally indeed".split()
)
_WARM = frozenset(
    "good great nice wonderful amazing awesome excellent fantastic love loved loves like liked glad"
    " happy interesting interested helpful help helps better best cool perfect beautiful worthy "
    "worthwhile important care caring enjoy appreciate thank thanks hope excited proud pleased "
    "impressive fun easy safe healthy wow generous support kind willing ready able trust worth "
    "comfortable confident benefit deserve deserves blessed grateful".split()
)
_COLD = frozenset(
    "bad terrible horrible awful hate hated hard difficult tough problem problems worried worry "
    "worries afraid scared scary angry upset sad annoying annoyed boring waste scam fraud lie lies "
    "wrong stupid ridiculous skeptical sceptical suspicious doubt unsure unfortunately sorry tight "
    "broke poor debt bills expensive stress stressed stressful tired busy crazy hell damn sick "
    "corrupt fake worse worst useless pointless pressure pushy stuck".split()
)
# words of one kind, and what to say when they moved the score
_KINDS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("yes", "says yes", _YES),
    ("warm", "warm words", _WARM),
    ("cold", "cold words", _COLD),
    (
        "want",
        "says what he wants or will do",
        frozenset(
            "want wanna wants need needs wish hope love like'd i'd would'd willing gonna going "
            "ready try trying start started decided plan planning will i'll".split()
        ),
    ),
    (
        "can",
        "speaks of what is possible",
        frozenset("can could able manage afford possible possibly".split()),
    ),
    (
        "cannot",
        "says that he cannot",
        frozenset("can't cannot couldn't unable impossible cant".split()),
    ),
    (
        "will_not",
        "says that he does not or will not",
        frozenset("won't wouldn't don't dont didn't doesn't wont refuse".split()),
    ),
    (
        "hedge",
        "hedges",
        frozenset(
            "maybe guess probably perhaps might suppose somewhat kinda sorta unsure depends "
            "possibly seems think".split()
        ),
    ),
    ("would", "speaks of what might be", frozenset("would could should might may".split())),
    (
        "but",
        "has a “but”",
        frozenset("but however although though except unless still yet".split()),
    ),
    ("self", "speaks of himself", frozenset("i i'm i've i'll i'd me my mine myself".split())),
    ("you", "speaks of us", frozenset("you your you're yours you've".split())),
    ("must", "speaks of what one must", frozenset("should must have has gotta supposed".split())),
    (
        "past",
        "speaks of the past",
        frozenset("was were did used tried had been went said".split()),
    ),
    ("asks", "asks a question", frozenset("what how why when where who which".split())),
    ("laugh", "laughs", frozenset("haha lol hah ha hehe".split())),
    (
        "filler",
        "looks for words",
        frozenset("um uh hmm well mm-hmm mm hm huh erm like".split()),
    ),
    ("no", "says no or not", NEGATORS),
)
# of these only their share counts, of the others how many there are as well
_SHARE_ONLY = frozenset({"self", "you"})
_PIECE = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d[\d.,]*|[?!.,;:]")
_ENDS_CLAUSE = frozenset("?!.,;:")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'"})


@dataclass(frozen=True, slots=True)
class Cue:
    """One number of `manner`: its kind, and what to say when it moved the score."""

    name: str
    why: str


def pieces(text: str) -> list[str]:
    """Return words, numbers and the marks that end a clause, lower case."""
    return _PIECE.findall(text.lower().translate(_APOSTROPHES))


def _cues() -> tuple[Cue, ...]:
    found: list[Cue] = []
    for name, why, _ in _KINDS:
        found += [Cue(name, why)] * (1 if name in _SHARE_ONLY else 2)
    found += [
        Cue("warm", "warm words"),
        Cue("warm_negated", "good things denied"),
        Cue("cold", "cold words"),
        Cue("cold_negated", "bad things denied"),
        Cue("mood", "the mood of his words"),
        Cue("yes_first", "begins with yes"),
        Cue("no_first", "begins with no"),
        Cue("length", "how much he says"),
        Cue("very_short", "a word or two"),
        Cue("short", "a short answer"),
        Cue("asks", "asks a question"),
        Cue("emphasis", "says it with emphasis"),
        Cue("number", "names a number"),
        Cue("money", "names a sum"),
        Cue("trails_off", "trails off"),
        Cue("commas", "says several things at once"),
    ]
    return tuple(found)


CUES = _cues()


def manner(text: str) -> NDArray[np.float32]:
    """Return the cues of a line, one number for each of `CUES`."""
    said = pieces(text)
    words = [piece for piece in said if piece[0].isalnum()]
    count = max(len(words), 1)
    numbers: list[float] = []
    for name, _, kind in _KINDS:
        times = sum(word in kind for word in words)
        if name not in _SHARE_ONLY:
            numbers.append(min(times, 3))
        numbers.append(times / math.sqrt(count))
    numbers += _moods(said)
    numbers += [
        bool(words) and words[0] in _YES,
        bool(words) and words[0] in NEGATORS,
        math.log1p(count),
        count <= 2,
        count <= 4,
        "?" in text,
        "!" in text,
        any(word[0].isdigit() for word in words),
        "$" in text,
        "..." in text,
        said.count(",") / count,
    ]
    return np.array(numbers, np.float32)


def _moods(said: list[str]) -> list[float]:
    """Return warm words, warm ones negated, cold ones, negated ones, and their sum squashed."""
    counts = {(warm, negated): 0 for warm in (True, False) for negated in (True, False)}
    reach = 0
    for piece in said:
        if piece in _ENDS_CLAUSE:
            reach = 0
        elif piece in NEGATORS:
            reach = REACH
        else:
            for warm, words in ((True, _WARM), (False, _COLD)):
                if piece in words:
                    counts[warm, reach > 0] += 1
            reach = max(0, reach - 1)
    good, not_good = counts[True, False], counts[True, True]
    bad, not_bad = counts[False, False], counts[False, True]
    mood = good - not_good - bad + not_bad
    return [
        min(good, 3),
        min(not_good, 2),
        min(bad, 3),
        min(not_bad, 2),
        mood / math.sqrt(mood * mood + 2.0),
    ]
