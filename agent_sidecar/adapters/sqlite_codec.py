"""Events and records as JSON: what the journal keeps, readable with any SQLite shell.

A dataclass carries no tag, so an event is written as `{"kind": class name, "body": fields}`.
Fields may be added to events and records when they have a default: what an older version wrote
stays readable, and unknown fields are skipped.
"""

from typing import get_args

import msgspec

from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.record import CallRecord


class _Envelope(msgspec.Struct, gc=False):
    kind: str
    body: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(_Envelope)
_events = {kind.__name__: msgspec.json.Decoder(kind) for kind in get_args(CallEvent)}
_records = msgspec.json.Decoder(CallRecord)


def encode_event(event: CallEvent) -> bytes:
    """Encode an event. Raises ValueError when it could not be read again."""
    try:
        raw = _encoder.encode({"kind": type(event).__name__, "body": event})
    except (TypeError, OverflowError) as exc:
        raise ValueError(f"{type(event).__name__}: {exc}") from exc
    # JSON has no NaN: it becomes null, which would show only after the crash that needs the event.
    # Reading it back costs 4 µs (16 with a vector).
    decode_event(raw)
    return raw


def decode_event(raw: bytes) -> CallEvent:
    """Return the event. Raises ValueError naming the field."""
    try:
        envelope = _envelopes.decode(raw)
    except msgspec.DecodeError as exc:
        raise ValueError(f"not an event: {exc}") from exc
    decoder = _events.get(envelope.kind)
    if decoder is None:
        raise ValueError(f"the kind of event {envelope.kind!r} is unknown to this version")
    try:
        event: CallEvent = decoder.decode(envelope.body)
    except msgspec.DecodeError as exc:
        raise ValueError(f"{envelope.kind}: {exc}") from exc
    return event


def encode_record(record: CallRecord) -> bytes:
    """Encode a record. Raises ValueError when it could not be read again."""
    return encode_and_read(record)[0]


def encode_and_read(record: CallRecord) -> tuple[bytes, CallRecord]:
    """Return a record as bytes and as they read. Raises ValueError when they cannot be read."""
    try:
        raw = _encoder.encode(record)
    except (TypeError, OverflowError) as exc:
        raise ValueError(f"CallRecord: {exc}") from exc
    return raw, decode_record(raw)


def decode_record(raw: bytes) -> CallRecord:
    """Return the record. Raises ValueError naming the field."""
    try:
        return _records.decode(raw)
    except msgspec.DecodeError as exc:
        raise ValueError(f"CallRecord: {exc}") from exc
