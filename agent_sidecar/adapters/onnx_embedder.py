"""Sentence embedding with onnxruntime: text in, unit vector out, beside the event loop.

Loads the folder that `agent-sidecar models prepare` wrote; needs neither torch nor a network.
Promise: a single line never waits behind more than one bounded batch of a bulk load, and its
vector is the same whether it came alone or in bulk, up to the rounding of 8-bit arithmetic.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import EmbeddingFailed, ModelMissing

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "meta.json"

# a final that is sent again, or asked for again by `suggest`, costs nothing; 1.5 kB each
REMEMBERED_TEXTS = 512
# one batch holds a worker for about 60 ms: what a live line may have to wait behind a bulk load
BATCH_TOKENS = 512
BATCH_TEXTS = 32
# texts of one bulk load are sorted by length within a window, so batches carry little padding
WINDOW_TEXTS = 256

Matrix = NDArray[np.float32]
Tokens = Sequence[int]
T = TypeVar("T")


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a prepared model is and how well it agrees with its original; `meta.json`."""

    name: str
    dimension: int
    max_tokens: int
    # where the weights came from, as given by the user
    source: str
    # sha256 of the weights file; empty when the original has several or none
    weights_sha256: str
    quantisation: str
    # cosine to the original's vectors over the parity sentences; 0 until measured
    parity_mean: float = 0.0
    parity_least: float = 0.0
    # raised whenever the way of preparing changes, so that old folders are prepared anew
    recipe: int


def read_card(model_dir: Path) -> ModelCard:
    """Raise ModelMissing when the folder holds no prepared model."""
    missing = [
        file for file in (CARD_FILE, MODEL_FILE, TOKENIZER_FILE) if not (model_dir / file).is_file()
    ]
    if missing:
        raise ModelMissing(
            f"no embedding model in {model_dir} ({', '.join(missing)} missing): "
            "run `agent-sidecar models prepare`"
        )
    try:
        return msgspec.json.decode((model_dir / CARD_FILE).read_bytes(), type=ModelCard)
    except msgspec.DecodeError as exc:
        raise ModelMissing(
            f"{model_dir / CARD_FILE} cannot be read ({exc}): run `agent-sidecar models prepare`"
        ) from exc


class OnnxEmbedder:
    """Embeds texts in worker threads of its own; onnxruntime lets go of the GIL meanwhile.

    `encode` blocks and is safe from any thread; `embed` belongs to one event loop.
    """

    def __init__(
        self, card: ModelCard, tokenizer: Tokenizer, session: ort.InferenceSession, *, threads: int
    ) -> None:
        self.card = card
        self.name = card.name
        self.dimension = card.dimension
        self._tokenizer = tokenizer
        self._pad_id = int((tokenizer.padding or {}).get("pad_id", 0))
        # padding is done per batch, below; truncation stays as the folder's tokenizer says
        tokenizer.no_padding()
        self._session = session
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._recent: OrderedDict[str, Vector] = OrderedDict()

    @classmethod
    def open(cls, model_dir: Path, *, threads: int = 1) -> "OnnxEmbedder":
        """Load and warm up the model, blocking for some 50 ms; raises ModelMissing.

        `threads` bounds how many batches run at once on the one shared session.
        """
        card = read_card(model_dir)
        try:
            embedder = cls(
                card,
                Tokenizer.from_file(str(model_dir / TOKENIZER_FILE)),
                _open_session(model_dir / MODEL_FILE),
                threads=threads,
            )
            # the first run allocates: better now than under the first line of a call
            warm = embedder.encode("ready")
        except Exception as exc:
            raise ModelMissing(
                f"the embedding model in {model_dir} cannot be loaded ({exc}): "
                "run `agent-sidecar models prepare`"
            ) from exc
        if warm.shape != (card.dimension,):
            raise ModelMissing(
                f"the embedding model in {model_dir} gives {warm.shape} where {CARD_FILE} says "
                f"({card.dimension},): run `agent-sidecar models prepare`"
            )
        return embedder

    def encode(self, text: str) -> Vector:
        """Embed one text in the caller's thread; raises EmbeddingFailed."""
        [vector] = self._run([self._tokenise(text)])
        return vector

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One vector per text, in order; read-only; raises EmbeddingFailed.

        Longer texts are cut at the model's `max_tokens`. An empty text has a vector too.
        """
        if len(texts) == 1:
            return [await self._embed_line(texts[0])]
        vectors: list[Vector] = []
        for start in range(0, len(texts), WINDOW_TEXTS):
            vectors += await self._embed_window(texts[start : start + WINDOW_TEXTS])
        return vectors

    async def aclose(self) -> None:
        """Let running batches end, then refuse further texts; safe to call twice."""
        await asyncio.to_thread(self._workers.shutdown)

    async def _embed_line(self, text: str) -> Vector:
        known = self._recent.get(text)
        if known is not None:
            self._recent.move_to_end(text)
            return known
        vector = await self._off_loop(partial(self.encode, text))
        self._recent[text] = vector
        if len(self._recent) > REMEMBERED_TEXTS:
            self._recent.popitem(last=False)
        return vector

    async def _embed_window(self, texts: Sequence[str]) -> list[Vector]:
        tokens = await self._off_loop(lambda: [self._tokenise(text) for text in texts])
        found: dict[int, Vector] = {}
        for rows in _batches([len(row) for row in tokens]):
            batch = [tokens[row] for row in rows]
            # awaited one by one: a live line gets its turn between two of them
            vectors = await self._off_loop(partial(self._run, batch))
            found.update(zip(rows, vectors, strict=True))
        return [found[row] for row in range(len(texts))]

    async def _off_loop(self, work: Callable[[], T]) -> T:
        try:
            job = asyncio.get_running_loop().run_in_executor(self._workers, work)
        except RuntimeError as exc:
            raise EmbeddingFailed("the embedder is closed") from exc
        return await job

    def _tokenise(self, text: str) -> Tokens:
        # half a surrogate pair, as broken JSON escapes leave it, is no Unicode and would raise
        text = text.encode("utf-8", "replace").decode("utf-8")
        # one by one: `encode_batch` starts a thread pool that warns at every later fork
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _run(self, batch: Sequence[Tokens]) -> list[Vector]:
        longest = max(len(row) for row in batch)
        ids = np.full((len(batch), longest), self._pad_id, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        try:
            [vectors] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        except Exception as exc:
            raise EmbeddingFailed(f"{self.name} failed on {len(batch)} texts: {exc}") from exc
        if not np.isfinite(vectors).all():
            raise EmbeddingFailed(f"{self.name} gave a vector that is not finite")
        # shared by all who ask for the same text
        vectors.flags.writeable = False
        return list(vectors)


def _open_session(model_file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # calls run beside each other, so a second thread per call gains nothing; and a spinning one
    # takes a whole core from the event loop
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers, shortest rows first, in batches of at most BATCH_TOKENS padded tokens."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = len(batch) == BATCH_TEXTS or (len(batch) + 1) * lengths[row] > BATCH_TOKENS
        if batch and full:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
