"""Telnyx's frames and webhooks in our words: translates, decides nothing.

Anything may come in over a public port, so whatever the bytes are, the only errors that leave this
module are `FrameMalformed` and `WebhookMalformed`, and they name the field.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from agent_sidecar.adapters.telnyx_values import (
    UNREADABLE,
    as_utc,
    client_state_of,
    mended,
    share_of,
    short,
    text_of,
)
from agent_sidecar.domain.media import (
    MediaFormat,
    MediaFrame,
    StreamDigit,
    StreamError,
    StreamNotice,
    StreamStart,
    StreamStop,
)
from agent_sidecar.domain.types import LegId, Track
from agent_sidecar.errors import FrameMalformed, WebhookMalformed
from agent_sidecar.ports import TelephonyEvent, TelephonyKind

# frames say `inbound`; some older streams repeat the request's `inbound_track`
_TRACKS: Final[dict[str, Track]] = {
    "inbound": "inbound",
    "outbound": "outbound",
    "inbound_track": "inbound",
    "outbound_track": "outbound",
}
# the error frames that are documented
_ERRORS: Final = {
    100002: "unknown_error",
    100003: "malformed_frame",
    100004: "invalid_media",
    100005: "rate_limit_reached",
}
_NOTICES: Final = frozenset({"connected", "mark"})

Frame = StreamStart | MediaFrame | StreamStop | StreamError | StreamDigit | StreamNotice

# --- media stream ---------------------------------------------------------------------------------

# numbers come as strings of integers: the decoders below are lax
_Count = Annotated[int, Meta(ge=0)]


class _Media(Struct, gc=False):
    track: str
    chunk: _Count
    # msgspec undoes the base64 itself: 0.47 µs a frame, against 0.54 with pybase64 as a second step
    payload: bytes


class _MediaEnvelope(Struct, gc=False):
    event: str
    stream_id: str = ""
    media: _Media | None = None


class _Format(Struct, gc=False):
    encoding: str
    sample_rate: Annotated[int, Meta(gt=0)]
    channels: Annotated[int, Meta(gt=0)] = 1


class _Start(Struct, gc=False):
    call_control_id: Annotated[str, Meta(min_length=1)]
    media_format: _Format
    # what is only good to know must not cost the stream when it is odd
    call_session_id: object = None
    from_: object = msgspec.field(default=None, name="from")
    to: object = None
    client_state: object = None
    # an object in the frame, an array of {name, value} in the request: both are taken
    custom_parameters: object = None


class _StartEnvelope(Struct, gc=False):
    start: _Start
    stream_id: str = ""


class _Dtmf(Struct, gc=False):
    digit: Annotated[str, Meta(pattern="^[0-9A-Da-d*#]$")]


class _DtmfEnvelope(Struct, gc=False):
    dtmf: _Dtmf
    occurred_at: datetime | None = None
    stream_id: str = ""


class _StopEnvelope(Struct, gc=False):
    stream_id: str = ""


class _Problem(Struct, gc=False):
    code: int = 0
    title: str = ""
    detail: str = ""


class _ErrorEnvelope(Struct, gc=False):
    payload: _Problem
    stream_id: str = ""


_decode_media = msgspec.json.Decoder(_MediaEnvelope, strict=False).decode
_decode_start = msgspec.json.Decoder(_StartEnvelope, strict=False).decode
_decode_dtmf = msgspec.json.Decoder(_DtmfEnvelope, strict=False).decode
_decode_stop = msgspec.json.Decoder(_StopEnvelope, strict=False).decode
_decode_error = msgspec.json.Decoder(_ErrorEnvelope, strict=False).decode


def decode_frame(raw: bytes | str) -> Frame:
    """Translate one frame of a media stream. Raises `FrameMalformed`."""
    try:
        frame = _decode_media(raw)
        if frame.event == "media":
            media = frame.media
            if media is None:
                raise FrameMalformed("a media frame has no field `media`")
            return MediaFrame(_TRACKS[media.track], media.chunk, media.payload, frame.stream_id)
        return _decode_rare(frame.event, raw)
    except UNREADABLE as exc:
        raise FrameMalformed(f"unreadable frame: {short(exc)}") from exc
    except OverflowError as exc:
        raise FrameMalformed("`occurred_at` is beyond the calendar") from exc
    except KeyError as exc:
        said = short(exc)
        raise FrameMalformed(f"`media.track` is {said}; it must be inbound or outbound") from None


def _decode_rare(event: str, raw: bytes | str) -> Frame:
    match event:
        case "start":
            return _start(_decode_start(raw))
        case "stop":
            return StreamStop(stream_id=_decode_stop(raw).stream_id)
        case "error":
            frame = _decode_error(raw)
            problem = frame.payload
            return StreamError(
                stream_id=frame.stream_id,
                code=problem.code,
                name=_ERRORS.get(problem.code, "unlisted"),
                title=problem.title,
                detail=problem.detail,
            )
        case "dtmf":
            frame_of_key = _decode_dtmf(raw)
            at = frame_of_key.occurred_at
            return StreamDigit(
                stream_id=frame_of_key.stream_id,
                digit=frame_of_key.dtmf.digit.upper(),
                at=None if at is None else as_utc(at),
            )
        case _:
            return StreamNotice(event=event, known=event in _NOTICES)


def _start(frame: _StartEnvelope) -> StreamStart:
    start = frame.start
    return StreamStart(
        stream_id=frame.stream_id,
        leg_id=LegId(start.call_control_id),
        format=MediaFormat(
            encoding=start.media_format.encoding,
            sample_rate_hz=start.media_format.sample_rate,
            channels=start.media_format.channels,
        ),
        call_session_id=text_of(start.call_session_id),
        from_=text_of(start.from_),
        to=text_of(start.to),
        client_state=client_state_of(text_of(start.client_state)) or None,
        custom_parameters=_parameters(start.custom_parameters),
    )


def _parameters(given: object) -> dict[str, str]:
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(given, dict):
        pairs = given.items()
    elif isinstance(given, list):
        pairs = [(p.get("name"), p.get("value")) for p in given if isinstance(p, dict)]
    return {str(name): str(value) for name, value in pairs if name and value is not None}


# --- webhooks -------------------------------------------------------------------------------------

_KINDS: Final[dict[str, TelephonyKind]] = {
    "call.initiated": "initiated",
    "call.answered": "answered",
    "call.hangup": "hangup",
    "call.bridged": "bridged",
    "call.transcription": "line",
    "call.gather.ended": "gather_ended",
    "call.speak.ended": "speak_ended",
    "call.machine.detection.ended": "machine_detected",
    "call.machine.premium.detection.ended": "machine_detected",
    # no `call.` prefix, unlike all others
    "streaming.started": "stream_started",
    "streaming.stopped": "stream_stopped",
    "streaming.failed": "stream_failed",
    "call.recording.saved": "recording_saved",
}
# when the beep comes before the detection ends, these are all that is sent
_GREETING_ENDED: Final = frozenset(
    {"call.machine.greeting.ended", "call.machine.premium.greeting.ended"}
)
# `call.recording.saved` names no leg; that a text was spoken is worth no refusal
_WITHOUT_LEG: Final = frozenset({"recording_saved", "speak_ended", "other"})

_Text = Annotated[str, Meta(min_length=1)]


class _Data(Struct, gc=False):
    event_type: _Text
    id: _Text
    occurred_at: datetime
    payload: dict[str, object] = msgspec.field(default_factory=dict)


class _Webhook(Struct, gc=False):
    data: _Data


class _Version1(Struct, gc=False):
    event_type: object = None
    record_type: object = None
    data: object = None


_decode_webhook = msgspec.json.Decoder(_Webhook).decode
_decode_version_1 = msgspec.json.Decoder(_Version1).decode


def decode_webhook(raw: bytes) -> TelephonyEvent:
    """Translate one Call Control webhook (API version 2). Raises `WebhookMalformed`.

    Only what the event cannot do without must be there and of its type: Telnyx never repeats a
    webhook that was refused, so an odd value in any other field counts as missing.
    """
    try:
        data = _read_webhook(raw).data
        at = as_utc(data.occurred_at)
    except OverflowError as exc:
        raise WebhookMalformed("`data.occurred_at` is beyond the calendar") from exc
    except UNREADABLE as exc:
        if _is_version_1(raw):
            raise WebhookMalformed(
                "this webhook has no field `data`: it is of webhook API version 1;"
                " set webhook_api_version to 2 in the Telnyx application"
            ) from exc
        raise WebhookMalformed(f"unreadable webhook: {short(exc)}") from exc
    return _event(data, at)


def _read_webhook(raw: bytes) -> _Webhook:
    try:
        return _decode_webhook(raw)
    except UNREADABLE as exc:
        try:
            again = mended(raw)
        except (ValueError, RecursionError):
            raise exc from None
        return _decode_webhook(again)


def _is_version_1(raw: bytes) -> bool:
    try:
        old = _decode_version_1(raw)
    except UNREADABLE:
        return False
    return old.data is None and (old.event_type is not None or old.record_type == "event")


def _kind_and_status(data: _Data) -> tuple[TelephonyKind, str | None]:
    kind, payload = _KINDS.get(data.event_type, "other"), data.payload
    if kind == "machine_detected":
        return kind, _text(payload, "result")
    if data.event_type in _GREETING_ENDED and payload.get("result") == "beep_detected":
        return "machine_detected", "machine"
    return kind, _text(payload, "status")


def _event(data: _Data, at: datetime) -> TelephonyEvent:
    payload = data.payload
    kind, status = _kind_and_status(data)
    leg_id = _text(payload, "call_control_id")
    if leg_id is None and kind not in _WITHOUT_LEG:
        raise WebhookMalformed(
            f"`data.payload.call_control_id` of {short(data.event_type)} must be a text, not empty"
        )
    line = _object(payload, "transcription_data")
    text = line.get("transcript")
    if kind == "line" and not isinstance(text, str):
        raise WebhookMalformed("`data.payload.transcription_data.transcript` must be a text")
    peer = _text(payload, "bridged_call_control_id")
    return TelephonyEvent(
        event_id=data.id,
        event_type=data.event_type,
        kind=kind,
        at=at,
        leg_id=None if leg_id is None else LegId(leg_id),
        call_leg_id=_text(payload, "call_leg_id"),
        call_session_id=_text(payload, "call_session_id"),
        client_state=client_state_of(_text(payload, "client_state")),
        direction=_direction(payload),
        from_=_text(payload, "from"),
        to=_text(payload, "to"),
        text=text if isinstance(text, str) else "",
        # missing means final: an interim one would say so
        is_final=line.get("is_final") is not False,
        confidence=share_of(line.get("confidence")),
        track=_TRACKS.get(_text(line, "transcription_track") or ""),
        cause=_text(payload, "failure_reason" if kind == "stream_failed" else "hangup_cause"),
        source=_text(payload, "hangup_source"),
        status=status,
        digits=_text(payload, "digits") or "",
        peer_leg_id=None if peer is None else LegId(peer),
        recording_url=_recording_url(payload),
        recording_id=_text(payload, "recording_id"),
    )


def _text(given: Mapping[str, object], name: str) -> str | None:
    return text_of(given.get(name))


def _object(given: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = given.get(name)
    return value if isinstance(value, dict) else {}


def _direction(payload: Mapping[str, object]) -> Literal["incoming", "outgoing"] | None:
    match payload.get("direction"):
        case "incoming" | "outgoing" as direction:
            return direction
        case _:
            return None


def _recording_url(payload: Mapping[str, object]) -> str | None:
    """Return the private link before the public one, and the lossless format before mp3."""
    for group in ("recording_urls", "public_recording_urls"):
        urls = _object(payload, group)
        if url := _text(urls, "wav") or _text(urls, "mp3"):
            return url
    return None
