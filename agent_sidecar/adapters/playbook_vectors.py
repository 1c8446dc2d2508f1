"""The vectors of playbook texts, kept in the data folder so that only new texts are embedded.

    DATA_DIR/playbook-vectors/<model>.safetensors   one file per embedding model

A copy that can be made anew at any time: what cannot be read, or is of another model, counts as
empty.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from agent_sidecar.adapters.onnx_embedder import ModelCard
from agent_sidecar.domain.types import Vector

FOLDER = "playbook-vectors"
_TEXTS = msgspec.json.Decoder(tuple[str, ...])


class PlaybookVectors:
    """The file of one embedding model."""

    def __init__(self, data_dir: Path, card: ModelCard) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", card.name).strip(".-")
        self.file = data_dir / FOLDER / f"{name or 'model'}.safetensors"
        # a model of the same name that was prepared otherwise has other vectors
        self._made_by = msgspec.json.encode(
            (card.name, card.dimension, card.weights_sha256, card.quantisation, card.recipe)
        ).decode()
        self._dimension = card.dimension

    def read(self) -> Mapping[str, Vector]:
        """Return the vectors that are kept, by text."""
        try:
            with safe_open(self.file, framework="numpy") as opened:
                said = opened.metadata() or {}
                if said.get("made_by") != self._made_by:
                    return {}
                texts = _TEXTS.decode(said.get("texts", ""))
                vectors = opened.get_tensor("vectors")
        except (OSError, SafetensorError, msgspec.DecodeError):
            return {}
        if vectors.shape != (len(texts), self._dimension) or not np.isfinite(vectors).all():
            return {}
        vectors = vectors.astype(np.float32, copy=False)
        vectors.flags.writeable = False
        return dict(zip(texts, vectors, strict=True))

    def missing(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the texts that have no vector here."""
        known = self.read()
        return tuple(text for text in dict.fromkeys(texts) if text not in known)

    def write(self, vectors: Mapping[str, Vector]) -> None:
        """Keep these vectors and no others, whole or not at all. Raises OSError."""
        # half a surrogate pair cannot be written as text; it is embedded each time
        kept = {text: vector for text, vector in vectors.items() if _is_unicode(text)}
        matrix = np.zeros((len(kept), self._dimension), np.float32)
        for row, vector in enumerate(kept.values()):
            matrix[row] = vector
        texts = msgspec.json.encode(tuple(kept)).decode()
        raw = save({"vectors": matrix}, {"made_by": self._made_by, "texts": texts})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_name(f"{self.file.name}.{os.getpid()}.new")
        try:
            with new.open("wb") as opened:
                opened.write(raw)
                opened.flush()
                os.fsync(opened.fileno())
            new.replace(self.file)
        finally:
            with suppress(FileNotFoundError):
                new.unlink()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
