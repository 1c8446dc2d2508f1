"""Objections: which reason against a line gives, from certain phrases and from its vector.

A phrase of the playbook decides alone. Otherwise a line is an objection when it is close to one of
its wordings, and clearly closer than to anything that is none: ordinary lines, and those that the
playbook names as sounding alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent_sidecar.domain.ordinary import ORDINARY_LINES
from agent_sidecar.domain.playbook import Objection
from agent_sidecar.domain.types import ObjectionType, Vector
from agent_sidecar.domain.words import NEGATORS, Phrases, plain_words

# a line nearer to a wording than this is that objection, if it is nearer by the margin to it
# than to any line that is none ...
CLOSE, MARGIN = 0.48, 0.02
# ... where one that denies and one that does not are further apart than their vectors say, which
# hardly tell “good with computers” from “not good with computers”. Chosen on half of the
# lines in the tests; CLOSE also so that unrelated talk of real people is hardly ever taken for one
DENIAL = 0.12
# an ordinary line so close to a wording of the playbook is an objection there
ALIKE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Objected:
    """What a line objects."""

    type: ObjectionType
    # the cosine to the closest wording, less `DENIAL` if only one of them denies
    closeness: float


class ObjectionReader:
    """Recognises the objections of one playbook."""

    def __init__(self, objections: Sequence[Objection], vectors: Mapping[str, Vector]) -> None:
        # who wants no further call may say why, but that is what counts
        in_order = sorted(objections, key=lambda o: not o.is_refusal)
        self._triggers = {o.type: Phrases(o.triggers, inflected=True) for o in in_order}
        wordings = _Groups([[text for o in objections for text in o.wordings]], vectors)
        ordinary = [
            text
            for text in ORDINARY_LINES
            if wordings.nearest(vectors.get(text), denies=_denies(text))[0] < ALIKE
        ]
        self._kinds = [objection.type for objection in objections]
        # what is none, then for each kind its wordings, then for each what sounds alike
        self._lines = _Groups(
            [ordinary, *(o.wordings for o in objections), *(o.unlike for o in objections)], vectors
        )

    def said(self, text: str) -> dict[ObjectionType, list[tuple[range, str]]]:
        """Return the certain phrases in a line by their objections, those that refuse first."""
        found = {kind: phrases.places(text) for kind, phrases in self._triggers.items()}
        return {kind: phrases for kind, phrases in found.items() if phrases}

    def closest(self, text: str, vector: Vector | None) -> Objected | None:
        """Return the objection that a line's vector tells, if any; never one its words deny."""
        denies = _denies(text)
        clear = sorted(self._clear(vector, denies=denies), key=_closeness, reverse=True)
        told = (one for one in clear if not self._triggers[one.type].denied(text))
        return next(told, None)

    def _clear(self, vector: Vector | None, *, denies: bool) -> Iterator[Objected]:
        ordinary, *others = self._lines.nearest(vector, denies=denies)
        wordings, unlike = others[: len(self._kinds)], others[len(self._kinds) :]
        for kind, closeness, alike in zip(self._kinds, wordings, unlike, strict=True):
            if closeness >= CLOSE and closeness - max(ordinary, alike) >= MARGIN:
                yield Objected(type=kind, closeness=closeness)


def texts_of(objections: Sequence[Objection]) -> Iterator[str]:
    """Yield every text whose vector is needed."""
    for objection in objections:
        yield from objection.wordings
        yield from objection.unlike
    yield from ORDINARY_LINES


class _Groups:
    """Groups of lines with their vectors, as far as they have one."""

    def __init__(self, groups: Sequence[Sequence[str]], vectors: Mapping[str, Vector]) -> None:
        known = [[text for text in texts if text in vectors] for texts in groups]
        self._count = len(groups)
        self._filled = [place for place, texts in enumerate(known) if texts]
        # a group without lines has no place in the matrix
        sizes = [len(known[place]) for place in self._filled]
        self._starts = np.cumsum([0, *sizes[:-1]])
        rows = [vectors[text] for texts in known for text in texts]
        self._matrix = np.stack(rows) if rows else None
        self._denies = np.array([_denies(text) for texts in known for text in texts])

    def nearest(self, vector: Vector | None, *, denies: bool) -> list[float]:
        """Return how close the closest line of each group is.

        -1 for one without vectors, and for all when the vector is another model's.
        """
        closest = [-1.0] * self._count
        if vector is None or self._matrix is None or vector.size != self._matrix.shape[1]:
            return closest
        each = self._matrix @ vector - DENIAL * (self._denies != denies)
        best = np.maximum.reduceat(each, self._starts).tolist()
        for place, closeness in zip(self._filled, best, strict=True):
            closest[place] = closeness
        return closest


def _denies(text: str) -> bool:
    return not NEGATORS.isdisjoint(plain_words(text))


def _closeness(told: Objected) -> float:
    return told.closeness
