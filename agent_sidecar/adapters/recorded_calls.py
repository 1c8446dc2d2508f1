"""Reads recorded calls, one JSON line each, plain or gzipped; every mistake is named by its place.

A recording without times is paced like speech, so whoever plays it need not care how it was made.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, cast

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from agent_sidecar.domain.recorded import RecordedCall, RecordedOutcome, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import RecordedCallInvalid

WORDS_PER_S = 2.7
GAP_S = 0.3

_Speaker = Literal["agent", "prospect"]
_SPEAKERS = ("agent", "prospect")
_LEAD_TEXTS = frozenset(field.name for field in fields(Lead)) - {"extra"}
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>[^`]*)`)?$", re.DOTALL)


class _Segment(Struct):
    speaker: str
    text: str
    start_s: Annotated[float, Meta(ge=0)] | None = None
    end_s: Annotated[float, Meta(ge=0)] | None = None
    strategy: str | None = None
    label: str | None = None
    # base64 of little-endian float32, or the numbers themselves
    vector: bytes | list[float] | None = None


class _Outcome(Struct):
    success: bool | None = None
    final_status: str | None = None


class _Archived(Struct):
    source: str = "live"


class _Call(Struct):
    call_id: str
    segments: list[_Segment]
    lead: dict[str, Any] | None = None
    model: str | None = None
    started_at: Annotated[datetime, Meta(tz=True)] | None = None
    outcome: _Outcome | None = None
    audio: dict[str, str] | UnsetType | None = UNSET
    # of a line of an archive: all that was known of the call
    record: "_Archived | None" = None


def read_recorded_calls(path: Path | str, *, limit: int | None = None) -> Iterator[RecordedCall]:
    """Yield the calls of a `.jsonl` or `.jsonl.gz` file while reading it, at most `limit`.

    Audio paths in the file are relative to it. Raises `RecordedCallInvalid` at the first line that
    cannot be used, naming file, line and key.
    """
    return islice(_read(Path(path)), limit)


def count_lines(path: Path) -> int:
    """Return how many lines the file has: about as many calls."""
    with _open(path) as file:
        return sum(1 for line in file if line.strip())


def _read(path: Path) -> Iterator[RecordedCall]:
    decoder = msgspec.json.Decoder(_Call)
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                place = _Place(path, number)
                raw = _decode(decoder, line, place)
                if raw.record is None or _is_learnt_from(raw, raw.record):
                    yield _call(raw, place)
    except (OSError, EOFError, zlib.error) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise RecordedCallInvalid(f"{path}: cannot be read: {reason}") from exc


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


class _Place:
    """Where we are in the file, and how to say that something is wrong there."""

    def __init__(self, path: Path, number: int) -> None:
        self.folder = path.absolute().parent
        self._name = f"{path}:{number}"

    def wrong(self, key: str, why: str) -> RecordedCallInvalid:
        return RecordedCallInvalid(f"{self._name}: {key}: {why}" if key else f"{self._name}: {why}")


def _is_learnt_from(raw: _Call, archived: _Archived) -> bool:
    """Say whether there is something to learn: archives hold silent calls and replays too."""
    return bool(raw.segments) and archived.source in {"live", "import"}


def _call(raw: _Call, place: _Place) -> RecordedCall:
    if not raw.call_id.strip():
        raise place.wrong("call_id", "is empty; give every call an id of its own")
    if not raw.segments:
        raise place.wrong("segments", "is empty; a call needs at least one line of text")
    outcome = raw.outcome or _Outcome()
    return RecordedCall(
        call_id=raw.call_id,
        segments=_pace(raw.segments, place),
        lead=_lead(raw.lead or {}, place),
        model=_model(raw, place),
        started_at=_utc(raw.started_at, place) if raw.started_at else None,
        outcome=RecordedOutcome(success=outcome.success, final_status=outcome.final_status),
        audio=_audio(raw.audio or {}, place),
    )


def _decode(decoder: "msgspec.json.Decoder[_Call]", line: bytes, place: _Place) -> _Call:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as exc:
        found = _PLACE.match(str(exc))
        what, where = (found["what"], found["where"]) if found else (str(exc), None)
        raise place.wrong(where or "", what[:1].lower() + what[1:]) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise place.wrong("", f"is not JSON: {exc}") from exc


def _utc(at: datetime, place: _Place) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as exc:
        raise place.wrong("started_at", "is beyond the calendar") from exc


# --- pacing -------------------------------------------------------------------------------------


def _pace(segments: Sequence[_Segment], place: _Place) -> tuple[SpokenSegment, ...]:
    """Give every segment both times, making up only what the file leaves out."""
    spoken: list[SpokenSegment] = []
    free_at_s = 0.0
    starts = [*(segment.start_s for segment in segments), None]
    for index, (segment, (_, next_s)) in enumerate(zip(segments, pairwise(starts), strict=True)):
        key = f"segments[{index}]"
        _check_words(segment, key, place)
        start_s, end_s = _times(segment, free_at_s, next_s)
        if end_s < start_s:
            raise place.wrong(f"{key}.end_s", f"{end_s} is before its start_s {start_s}")
        spoken.append(
            SpokenSegment(
                speaker=cast(_Speaker, segment.speaker),
                text=segment.text.strip(),
                start_s=start_s,
                end_s=end_s,
                strategy=segment.strategy,
                label=segment.label,
                vector=_vector(segment.vector, f"{key}.vector", place),
            )
        )
        free_at_s = max(free_at_s, end_s + GAP_S)
    return tuple(spoken)


def _check_words(segment: _Segment, key: str, place: _Place) -> None:
    if segment.speaker not in _SPEAKERS:
        raise place.wrong(f"{key}.speaker", f"{segment.speaker!r} is neither agent nor prospect")
    if not segment.text.strip():
        raise place.wrong(f"{key}.text", "is empty; leave the segment out")


def _vector(given: bytes | list[float] | None, key: str, place: _Place) -> bytes | None:
    if given is None:
        return None
    if isinstance(given, bytes) and len(given) % 4:
        raise place.wrong(key, "is not base64 of float32 numbers: their bytes come in fours")
    numbers = np.asarray(given, "<f4") if isinstance(given, list) else np.frombuffer(given, "<f4")
    if not numbers.size or not np.isfinite(numbers).all():
        raise place.wrong(key, "must hold finite numbers; leave it out to have the text embedded")
    return numbers.tobytes()


def _model(call: _Call, place: _Place) -> str | None:
    if call.model is None and any(segment.vector is not None for segment in call.segments):
        raise place.wrong("model", "is missing: name the embedding model that made the vectors")
    return call.model


def _times(segment: _Segment, free_at_s: float, next_s: float | None) -> tuple[float, float]:
    spoken_s = round(max(len(segment.text.split()), 1) / WORDS_PER_S, 3)
    if segment.start_s is None:
        if segment.end_s is None:
            return round(free_at_s, 3), round(free_at_s + spoken_s, 3)
        return max(round(segment.end_s - spoken_s, 3), 0.0), segment.end_s
    if segment.end_s is not None:
        return segment.start_s, segment.end_s
    end_s = round(segment.start_s + spoken_s, 3)
    # a later start of the next one bounds this one; an earlier or equal one is overlap, and allowed
    if next_s is not None and next_s > segment.start_s:
        end_s = min(end_s, next_s)
    return segment.start_s, end_s


# --- lead and audio -----------------------------------------------------------------------------


def _lead(raw: dict[str, Any], place: _Place) -> Lead:
    texts: dict[str, str] = {}
    extra: dict[str, object] = {}
    for key, value in raw.items():
        if key == "extra" and isinstance(value, dict):
            extra.update(value)
        elif key not in _LEAD_TEXTS:
            extra[key] = value
        elif value is not None:
            texts[key] = _text(f"lead.{key}", value, place)
    return Lead(**texts, extra=extra)


def _text(key: str, value: object, place: _Place) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.wrong(key, f"must be text or a number, not {type(value).__name__}")
    return str(int(value)) if value == int(value) else str(value)


def _audio(raw: dict[str, str], place: _Place) -> dict[_Speaker, str]:
    found: dict[_Speaker, str] = {}
    for party, name in raw.items():
        key = f"audio.{party}"
        if party not in _SPEAKERS:
            raise place.wrong(key, "is neither agent nor prospect")
        file = place.folder / name
        if not file.is_file():
            raise place.wrong(key, f"there is no file {file}; mend the path or leave audio out")
        found[cast(_Speaker, party)] = str(file)
    return found
