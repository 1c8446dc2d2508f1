"""How far a prepared model is from its original: sentences, stored vectors, and the verdict.

The vectors of the default model were made by sentence-transformers itself
(`bench/make_parity_vectors.py`); so the check needs no torch where a model is prepared.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.errors import ModelRejected

SENTENCES_FILE = "sentences.json"

# 8-bit weights stay above both; a wrong graph or tokenizer is far below
MEAN_FLOOR = 0.998
LEAST_FLOOR = 0.995

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Cosines between ours and the original's vectors of the same sentences."""

    mean: float
    least: float
    # where the least agreement was
    least_sentence: str

    def __str__(self) -> str:
        return f"cosine to the original: mean {self.mean:.4f}, least {self.least:.4f}"

    @property
    def accepted(self) -> bool:
        return self.mean >= MEAN_FLOOR and self.least >= LEAST_FLOOR

    def require(self, name: str) -> None:
        """Raise ModelRejected when the model does not do what its original does."""
        if not self.accepted:
            raise ModelRejected(
                f"{name} as prepared differs from its original ({self}; wanted at least "
                f"{MEAN_FLOOR} and {LEAST_FLOOR}; worst for {self.least_sentence[:60]!r}): "
                "not kept. Is every file in the model's folder the one it was published with?"
            )


def sentences() -> list[str]:
    """Lines as they come up in sales calls: short, long, empty, odd."""
    found: list[str] = json.loads((resources.files(__name__) / SENTENCES_FILE).read_text("utf-8"))
    return found


def stored_vectors(name: str) -> Vectors:
    """Give the original's vectors of `sentences`, one row each, as shipped for this model."""
    with (
        resources.as_file(resources.files(__name__) / f"{name}.npz") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        vectors: Vectors = stored["vectors"].astype(np.float32)
    return vectors


def compare(ours: Sequence[Vectors], original: Vectors) -> Parity:
    """Row by row; lengths do not matter."""
    stacked = np.stack(list(ours))
    cosines = np.einsum("ij,ij->i", stacked, original) / (
        np.linalg.norm(stacked, axis=1) * np.linalg.norm(original, axis=1)
    )
    worst = int(np.argmin(cosines))
    return Parity(
        mean=float(cosines.mean()),
        least=float(cosines[worst]),
        least_sentence=sentences()[worst],
    )
