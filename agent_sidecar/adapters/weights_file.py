"""Fitted weights as files: safetensors with a card that says what they were fitted on.

    DATA_DIR/weights/<version>.safetensors   one file per fit, never changed
    DATA_DIR/weights/current                 the version in use; without it, the weights that ship
    DATA_DIR/weights/history                 what was in use before, oldest first

The same weights always make the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.outlook import OutlookModel
from agent_sidecar.domain.score_context import FEATURES
from agent_sidecar.domain.score_model import ScoreModel
from agent_sidecar.domain.strategies import StrategyModel
from agent_sidecar.errors import WeightsInvalid

DEFAULT_FILE = Path(__file__).parents[1] / "weights" / "default.safetensors"
SUFFIX = ".safetensors"
CURRENT = "current"
HISTORY = "history"
# of a data folder without a version of its own
DEFAULT = "default"
_SCORE, _STRATEGIES, _OUTLOOK = "score.", "strategies.", "outlook."
# few numbers, but each matters: not halved
_EXACT = frozenset({"calibration", "middles", "familiar", "anchor_groups", "group_sides", "usual"})

_Array = NDArray[np.floating]


class FittedOn(msgspec.Struct, frozen=True, kw_only=True):
    """What one file of recorded calls gave to the fit."""

    name: str
    calls: int
    positive: int
    negative: int
    # each call judged by weights fitted without it
    auc: float | None = None


class WeightsCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of weights is, and on what it was fitted."""

    version: str
    fitted_at: str
    # of the embedding model whose vectors were fitted on
    model: str
    dimension: int
    # what a line is judged by: weights of another number do not fit
    features: int = FEATURES
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    anchor_groups: tuple[str, ...]
    strategies: tuple[str, ...] = ()
    # it also says what to expect of each strategy in a moment
    has_outlook: bool = False
    sources: tuple[FittedOn, ...] = ()


def version_of(fitted_on: str, weights: Weights) -> str:
    """Return the name of fitted weights: the day, and what is in them."""
    digest = blake2b(digest_size=4)
    for name, array in sorted(_arrays(weights).items()):
        digest.update(name.encode() + array.tobytes())
    return f"{fitted_on[:10].replace('-', '')}-{digest.hexdigest()}"


def write_weights(file: Path, card: WeightsCard, weights: Weights) -> None:
    """Write the file whole or not at all."""
    raw = save(dict(sorted(_arrays(weights).items())), {"card": msgspec.json.encode(card).decode()})
    _replace(file, raw)


def read_weights(file: Path, *, model: str, dimension: int) -> tuple[WeightsCard, Weights]:
    """Return the weights for this embedding model. Raises WeightsInvalid."""
    card, arrays = _read(file)
    if card.features != FEATURES:
        raise WeightsInvalid(
            f"{file}: fitted for lines judged by features {card.features}, this version has"
            f" {FEATURES}: run `agent-sidecar learn fit` again"
        )
    if (card.model, card.dimension) != (model, dimension):
        raise WeightsInvalid(
            f"{file}: fitted with the embedding model {card.model} ({card.dimension} numbers), not"
            f" with {model} ({dimension}): run `agent-sidecar learn fit` with this model, or set"
            f" SIDECAR_MODEL={card.model}"
        )
    try:
        score = ScoreModel.from_arrays(card.anchor_groups, _within(arrays, _SCORE))
        _check(file, _SCORE, score, dimension)
        strategies = None
        if card.strategies:
            strategies = StrategyModel.from_arrays(card.strategies, _within(arrays, _STRATEGIES))
            _check(file, _STRATEGIES, strategies, dimension)
        outlook = None
        if card.has_outlook:
            outlook = OutlookModel.from_arrays(card.strategies, _within(arrays, _OUTLOOK))
            _check(file, _OUTLOOK, outlook, dimension)
    except KeyError as exc:
        raise WeightsInvalid(f"{file}: the array {exc} is missing; fit anew") from exc
    return card, Weights(version=card.version, score=score, strategies=strategies, outlook=outlook)


def _check(
    file: Path, prefix: str, model: ScoreModel | StrategyModel | OutlookModel, dimension: int
) -> None:
    """Raise WeightsInvalid for arrays that would fail at the first line of a call."""
    arrays = model.arrays()
    for name, shape in model.shapes(dimension).items():
        array = arrays[name]
        if array.shape != shape:
            raise WeightsInvalid(
                f"{file}: the array {prefix}{name} has the shape {array.shape} where {shape} is"
                " needed: the file is damaged; run `agent-sidecar learn fit` again"
            )
        if not np.isfinite(array).all():
            raise WeightsInvalid(
                f"{file}: the array {prefix}{name} holds what is no number: the file is damaged;"
                " run `agent-sidecar learn fit` again"
            )


def weights_in_use(folder: Path, *, model: str, dimension: int) -> Weights:
    """Return what calls are scored with: the version in use, else the weights that ship.

    Those that ship are for the default embedding model; with another one nothing is fitted until
    `learn fit` has run. Raises WeightsInvalid.
    """
    file = weights_file(folder)
    if file == DEFAULT_FILE and _read(file)[0].model != model:
        return STARTING_WEIGHTS
    return read_weights(file, model=model, dimension=dimension)[1]


def weights_file(folder: Path, wanted: str | None = None) -> Path:
    """Return the file of a version or path; None: of what is in use. Raises WeightsInvalid."""
    if wanted is None:
        wanted = current_version(folder)
    if wanted is None or wanted == DEFAULT:
        return DEFAULT_FILE
    for file in (folder / f"{wanted}{SUFFIX}", Path(wanted)):
        if file.is_file():
            return file
    there = ", ".join([DEFAULT, *sorted(f.stem for f in folder.glob(f"*{SUFFIX}"))])
    raise WeightsInvalid(
        f"no weights {wanted!r}, neither as a file nor in {folder}; name one of: {there}"
    )


def current_version(folder: Path) -> str | None:
    """Return the version in use; None: the weights that ship."""
    try:
        return (folder / CURRENT).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WeightsInvalid(f"{folder / CURRENT}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise WeightsInvalid(
            f"{folder / CURRENT}: is not text; write the version to use into it, or delete it"
        ) from exc


def use_version(folder: Path, version: str) -> None:
    """Put a version in use from the next start on; what was in use can be gone back to."""
    before = current_version(folder) or DEFAULT
    if before != version:
        _write_history(folder, (*_history(folder), before))
    _replace(folder / CURRENT, f"{version}\n".encode())


def go_back(folder: Path) -> str:
    """Put in use what was before; return it. Raises WeightsInvalid when there was nothing."""
    history = _history(folder)
    if not history:
        raise WeightsInvalid(
            f"{folder}: nothing was in use before {current_version(folder) or DEFAULT}"
        )
    weights_file(folder, history[-1])
    _replace(folder / CURRENT, f"{history[-1]}\n".encode())
    _write_history(folder, history[:-1])
    return history[-1]


def versions(folder: Path) -> Sequence[WeightsCard]:
    """Return the cards of all versions of the folder, oldest first; broken files are left out."""
    cards = []
    for file in folder.glob(f"*{SUFFIX}"):
        with suppress(WeightsInvalid):
            cards.append(_read(file)[0])
    return sorted(cards, key=lambda card: card.fitted_at)


def _history(folder: Path) -> tuple[str, ...]:
    try:
        return tuple((folder / HISTORY).read_text("utf-8").split())
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        raise WeightsInvalid(f"{folder / HISTORY}: cannot be read: {exc}") from exc


def _write_history(folder: Path, versions: Sequence[str]) -> None:
    _replace(folder / HISTORY, "".join(f"{version}\n" for version in versions).encode())


def _arrays(weights: Weights) -> dict[str, _Array]:
    found: dict[str, _Array] = {}
    models = (
        (_SCORE, weights.score),
        (_STRATEGIES, weights.strategies),
        (_OUTLOOK, weights.outlook),
    )
    for prefix, model in models:
        for name, array in (model.arrays() if model is not None else {}).items():
            halved = array.dtype.kind == "f" and name not in _EXACT
            found[prefix + name] = np.ascontiguousarray(array, np.float16 if halved else None)
    return found


def _within(arrays: Mapping[str, _Array], prefix: str) -> dict[str, _Array]:
    return {
        name.removeprefix(prefix): array.astype(np.float32)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _read(file: Path) -> tuple[WeightsCard, dict[str, _Array]]:
    try:
        with safe_open(file, framework="numpy") as opened:
            said = (opened.metadata() or {}).get("card", "")
            card = msgspec.json.decode(said, type=WeightsCard)
            return card, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as exc:
        raise WeightsInvalid(f"{file}: cannot be read as fitted weights: {exc}") from exc
    except msgspec.DecodeError as exc:
        raise WeightsInvalid(f"{file}: says nothing of what it was fitted on: {exc}") from exc


def _replace(file: Path, raw: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        with new.open("wb") as opened:
            opened.write(raw)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
    except OSError as exc:
        raise WeightsInvalid(f"{file}: cannot be written: {exc.strerror}") from exc
