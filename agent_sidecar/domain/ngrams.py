"""Words and runs of words as numbers: hashed n-grams, the same on every machine and in every run.

A word within reach of a negation in its clause is another word than without ("good", "not:good").
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.manner import NEGATORS, REACH, pieces

# how many places the hash has; 2**14 costs 32 kB of float16 weights
BITS = 14
# longest run of words
LONGEST = 3

_ENDS_CLAUSE = frozenset("?!.,;:")


def ngrams(text: str) -> list[str]:
    """Return the words and runs of words of a text, with negations marked; numbers are one word."""
    words = ["<s>", *_marked(text), "</s>"]
    runs = words[1:-1]
    for size in range(2, LONGEST + 1):
        runs += [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
    return runs


def hashed(text: str, *, bits: int = BITS) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the places of a text's n-grams, ascending and each once, and 1 + log of how often.

    Neither weighted by rarity nor normalised: that is part of what is fitted.
    """
    places = [place(gram, bits) for gram in ngrams(text)]
    found, counts = np.unique(np.array(places, np.int32), return_counts=True)
    return found, (1.0 + np.log(counts)).astype(np.float32)


@lru_cache(maxsize=1 << 16)
def place(gram: str, bits: int = BITS) -> int:
    """Return the place of one n-gram."""
    digest = blake2b(gram.encode("utf-8", "replace"), digest_size=4).digest()
    return int.from_bytes(digest, "little") & ((1 << bits) - 1)


def _marked(text: str) -> list[str]:
    words: list[str] = []
    negated = 0
    for piece in pieces(text):
        if piece in _ENDS_CLAUSE:
            negated = 0
            if piece in "?!":
                words.append(piece)
        elif piece in NEGATORS:
            words.append(piece)
            negated = REACH
        else:
            word = "#" if piece[0].isdigit() else piece
            words.append(f"not:{word}" if negated else word)
            negated = max(0, negated - 1)
    return words
