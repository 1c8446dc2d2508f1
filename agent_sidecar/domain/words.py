"""Words: what was said, in one spelling; whole-word phrases that mind negation.

Recognisers write “don't”, “dont” or “do not”, with punctuation or without. What is compared has one
spelling (`plain_words`): lower case, contractions opened, so that one phrase covers them all.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
# a word, or what ends a clause
_PIECE = re.compile(rf"{_TOKEN.pattern}|[.,;:!?\u2013\u2014]")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'"})

# "n't" words whose stem is not what is left without it
_IRREGULAR = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
    "ain't": ("is", "not"),
    "let's": ("let", "us"),
    "gonna": ("going", "to"),
    "wanna": ("want", "to"),
    "gotta": ("got", "to"),
    "lemme": ("let", "me"),
    "gimme": ("give", "me"),
    "dunno": ("do", "not", "know"),
}
_ENDINGS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
# "'s" after these is “is”; after others it is mostly a possessive
_BEFORE_IS = frozenset("it that this there here he she what who where how when why".split())
# spellings without an apostrophe; those that are words of their own ("well", "were") are not here
_BARE = {
    word.replace("'", ""): word
    for word in (
        "can't won't ain't don't doesn't didn't isn't aren't wasn't weren't hasn't haven't hadn't "
        "wouldn't couldn't shouldn't i'm i've you're you've we've they're they've that's it's "
        "what's there's he's she's let's"
    ).split()
    if word not in {"it's"}
}

NEGATORS = frozenset("no not never none nothing neither nor without hardly barely".split())
# how many words before a word, in its clause, may turn it round ...
REACH = 3
# ... unless what is negated is a saying or thinking, which turns round what it is about
OPINION_REACH = 10
_OPINIONS = frozenset(
    "say saying said says mean meaning meant think thinking believe claim claiming suggest "
    "suggesting calling accusing worried afraid that".split()
)
# of these nothing holds that is said of them
_NOBODY = frozenset({"nothing", "none", "neither"})
# opening a clause, these answer somebody; they negate at most the very next word ("no problem")
_ANSWERS = frozenset({"no"})
# after a negator these make it no negation: "not only a scam", "nothing but a scam", "no doubt"
_UNDONE = frozenset("only just but".split())
_UNDONE_NO = frozenset("doubt question wonder matter".split())
# words that begin a new clause where a recogniser writes no comma
_TURNS = frozenset("but because although though however except unless".split())
_AUXILIARIES = frozenset(
    "is are was were do does did has have had can could will would should might must".split()
)
_SUBJECTS = frozenset("i you he she it we they this that there these those".split())


def tokens(text: str) -> list[str]:
    """Return the words of a text, lower case, with their apostrophes."""
    return _TOKEN.findall(text.lower().translate(_APOSTROPHES))


def plain_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in one spelling: lower case, contractions opened."""
    return words_and_clauses(text)[0]


# a line is asked for the phrases of every objection and phase, one after another
@lru_cache(maxsize=8)
def words_and_clauses(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the plain words of a text, and for each where its clause begins."""
    words: list[str] = []
    clauses: list[int] = []
    begins = 0
    for piece in _PIECE.findall(text.lower().translate(_APOSTROPHES)):
        if not piece[0].isalnum():
            begins = len(words)
            continue
        if piece in _TURNS:
            begins = len(words)
        for word in _opened(piece):
            if word == "mail" and words and words[-1] == "e":
                words[-1] = "email"
                continue
            words.append(word)
            clauses.append(begins)
    return tuple(words), tuple(clauses)


def is_negated(words: Sequence[str], clause: int, first: int, last: int) -> bool:
    """Say whether the words from `first` to `last` follow a negation in the clause.

    A question that negates (“isn't this a scam?”) supposes what it asks: it negates nothing.
    """
    return any(
        _reaches(words, clause, at, first, last)
        for at in range(max(clause, first - OPINION_REACH), first)
        if words[at] in NEGATORS
    )


def _reaches(words: Sequence[str], clause: int, at: int, first: int, last: int) -> bool:
    if words[at] in _ANSWERS and at == clause:
        return last == at + 1
    following = words[at + 1]
    if following in (_UNDONE_NO if words[at] == "no" else _UNDONE) or (
        words[at] == "not" and _is_asked(words, clause, at)
    ):
        return False
    return following in _OPINIONS or words[at] in _NOBODY or at >= first - REACH


def _is_asked(words: Sequence[str], clause: int, at: int) -> bool:
    """Say whether a “not” belongs to a question: “is not this …”, “is this not …”."""
    start = clause + (words[clause] in _TURNS)
    asked = (at == start + 1 and words[at + 1] in _SUBJECTS) or (
        at == start + 2 and words[start + 1] in _SUBJECTS
    )
    return words[start] in _AUXILIARIES and asked


class Phrases:
    """Finds whole-word phrases; one that a negation precedes in its clause does not count.

    A phrase that is a negation itself ("do not call") counts unless somebody denies to say or think
    it: people repeat such words, and hardly ever turn them round. `inflected`: “scammed” and
    “scams” count for “scam”.
    """

    def __init__(self, phrases: Iterable[str], *, inflected: bool = False) -> None:
        # by any form of the first word: (forms of each word, the phrase as written)
        self._by_first: dict[str, list[tuple[list[frozenset[str]], str]]] = {}
        for phrase in phrases:
            forms = [
                _forms(word) if inflected else frozenset({word}) for word in plain_words(phrase)
            ]
            for first in forms[0] if forms else ():
                self._by_first.setdefault(first, []).append((forms, phrase))

    def find(self, text: str) -> list[str]:
        """Return the phrases said in the text, in its order."""
        return [phrase for _, phrase in self.places(text)]

    def places(self, text: str) -> list[tuple[range, str]]:
        """Return the phrases said in the text, each with the places of its plain words."""
        return [(places, phrase) for places, phrase, denied in self._matches(text) if not denied]

    def denied(self, text: str) -> list[str]:
        """Return the phrases that are in the text and do not count, for they are denied."""
        return [phrase for _, phrase, denied in self._matches(text) if denied]

    def _matches(self, text: str) -> Iterator[tuple[range, str, bool]]:
        words, clauses = words_and_clauses(text)
        if self._by_first.keys().isdisjoint(words):
            return
        for index, word in enumerate(words):
            for forms, written in self._by_first.get(word, ()):
                end = index + len(forms)
                said = words[index:end]
                if len(said) == len(forms) and all(map(frozenset.__contains__, forms, said)):
                    denied = self._is_denied(words, clauses[index], index, end)
                    yield range(index, end), written, denied

    def _is_denied(self, words: Sequence[str], clause: int, index: int, end: int) -> bool:
        if NEGATORS.isdisjoint(words[index:end]):
            return is_negated(words, clause, index, end - 1)
        return any(
            words[at] in NEGATORS and words[at + 1] in _OPINIONS
            for at in range(max(clause, index - OPINION_REACH), index - 1)
        )


# the words of a language, over and over
@lru_cache(maxsize=1 << 14)
def _opened(word: str) -> Sequence[str]:
    """Return a word without contractions."""
    word = _BARE.get(word, word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    stem, apostrophe, ending = word.partition("'")
    if not apostrophe:
        return (word,)
    if ending == "t" and stem.endswith("n"):
        return stem[:-1], "not"
    if ending == "s":
        return (stem, "is") if stem in _BEFORE_IS else (word,)
    return (stem, _ENDINGS[f"'{ending}"]) if f"'{ending}" in _ENDINGS else (word,)


_VOWELS = frozenset("aeiou")


def _forms(word: str) -> frozenset[str]:
    """Return a word with its regular inflections; more than there are does no harm."""
    if word in NEGATORS or len(word) < 3 or not word.isalpha():
        return frozenset({word})
    forms = {word, f"{word}s", f"{word}es", f"{word}ed", f"{word}ing", f"{word}'s"}
    if word.endswith("e"):
        forms |= {f"{word}d", f"{word[:-1]}ing"}
    if word.endswith("y"):
        forms |= {f"{word[:-1]}ies", f"{word[:-1]}ied"}
    if word[-1] not in _VOWELS and word[-2] in _VOWELS:
        forms |= {f"{word}{word[-1]}ed", f"{word}{word[-1]}ing"}
    return frozenset(forms)
