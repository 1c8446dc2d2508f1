"""Frames and webhooks: what Telnyx sends, what others send, and what nobody should send."""

import base64
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.adapters.telnyx_signature import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignatureCheck,
)
from agent_sidecar.adapters.telnyx_wire import decode_frame, decode_webhook
from agent_sidecar.domain.media import (
    MediaFormat,
    MediaFrame,
    StreamDigit,
    StreamError,
    StreamNotice,
    StreamStart,
    StreamStop,
)
from agent_sidecar.errors import (
    FrameMalformed,
    SettingsInvalid,
    SignatureInvalid,
    WebhookMalformed,
)

PAYLOAD = bytes(range(160))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def media(**changes: object) -> dict[str, object]:
    fields = {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": b64(PAYLOAD)}
    return {
        "event": "media",
        "sequence_number": "4",
        "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
        "media": {k: v for k, v in (fields | changes).items() if v is not None},
    }


def start(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "call_control_id": "v2:T02ll",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    }
    return {
        "event": "start",
        "sequence_number": "1",
        "stream_id": "S1",
        "start": {k: v for k, v in (fields | changes).items() if v is not None},
    }


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "track"),
    [
        ("inbound", "inbound"),
        ("outbound", "outbound"),
        ("inbound_track", "inbound"),
        ("outbound_track", "outbound"),
    ],
)
def test_a_media_frame_has_its_track_its_place_and_its_bytes(said: str, track: str):
    frame = decode_frame(encoded(media(track=said, chunk="217")))
    stream_id = "32DE0DEA-53CB-4B21-89A4-9E1819C043BC"
    assert frame == MediaFrame(track, 217, PAYLOAD, stream_id)  # type: ignore[arg-type]


def test_frames_may_come_as_text_and_numbers_as_numbers():
    frame = decode_frame(encoded(media(chunk=3)).decode())
    assert isinstance(frame, MediaFrame)
    assert frame.chunk == 3


def test_a_full_start_frame():
    frame = decode_frame(
        encoded(
            start(
                user_id="3E6F995F",
                call_session_id="ff55",
                **{"from": "+13122010094", "to": "+13122123456"},
                tags=["TAG1"],
                client_state=b64("have a nice day =]"),
                custom_parameters={"customer_id": "customer_123", "n": 5, "none": None},
            )
        )
    )
    assert frame == StreamStart(
        stream_id="S1",
        leg_id="v2:T02ll",  # type: ignore[arg-type]
        format=MediaFormat(encoding="PCMU", sample_rate_hz=8000, channels=1),
        call_session_id="ff55",
        from_="+13122010094",
        to="+13122123456",
        client_state="have a nice day =]",
        custom_parameters={"customer_id": "customer_123", "n": "5"},
    )


def test_an_old_start_frame_without_its_optional_fields():
    frame = decode_frame(encoded(start(media_format={"encoding": "PCMA", "sample_rate": "8000"})))
    assert isinstance(frame, StreamStart)
    assert frame.format == MediaFormat(encoding="PCMA", sample_rate_hz=8000)
    assert (frame.call_session_id, frame.client_state, frame.custom_parameters) == (None, None, {})


def test_odd_values_of_what_is_only_good_to_know_cost_no_stream():
    odd = {"call_session_id": 7, "from": 13122010094, "to": {}, "client_state": [1], "tags": "x"}
    frame = decode_frame(encoded(start(custom_parameters=5, **odd)))
    assert isinstance(frame, StreamStart)
    assert (frame.call_session_id, frame.from_, frame.to) == (None, None, None)
    assert (frame.client_state, frame.custom_parameters) == (None, {})


def test_custom_parameters_may_come_as_they_were_asked_for():
    pairs = [{"name": "token", "value": "abc"}, {"name": "", "value": "x"}, {"value": 1}, 7]
    frame = decode_frame(encoded(start(custom_parameters=pairs)))
    assert isinstance(frame, StreamStart)
    assert frame.custom_parameters == {"token": "abc"}


def test_the_rarer_frames():
    stop = {"event": "stop", "stream_id": "S1", "stop": {"call_control_id": "v2:x"}}
    assert decode_frame(encoded(stop)) == StreamStop(stream_id="S1")
    problem = {"code": "100003", "title": "malformed_frame", "detail": "…"}
    assert decode_frame(
        encoded({"event": "error", "stream_id": "S1", "payload": problem})
    ) == StreamError(
        stream_id="S1", code=100003, name="malformed_frame", title="malformed_frame", detail="…"
    )
    for event in ("connected", "mark"):
        assert decode_frame(encoded({"event": event, event: {"x": 1}})) == StreamNotice(
            event=event, known=True
        )
    assert decode_frame(b'{"event":"hologram"}') == StreamNotice(event="hologram", known=False)


@pytest.mark.parametrize(
    ("said", "digit", "at"),
    [
        ({"dtmf": {"digit": "1"}, "occurred_at": "2026-03-01T14:00:00+02:00"}, "1", NOW),
        ({"dtmf": {"digit": "#"}, "occurred_at": "2026-03-01T12:00:00.000000Z"}, "#", NOW),
        ({"dtmf": {"digit": "d", "more": 1}, "sequence_number": 5}, "D", None),
    ],
)
def test_a_pressed_key_says_when(said: dict[str, object], digit: str, at: datetime | None):
    frame = decode_frame(encoded({"event": "dtmf", "stream_id": "S1", **said}))
    assert frame == StreamDigit(stream_id="S1", digit=digit, at=at)


def test_what_names_no_stream_is_taken_all_the_same():
    opening = start()
    del opening["stream_id"]
    frame = decode_frame(encoded(opening))
    assert isinstance(frame, StreamStart)
    assert frame.stream_id == ""
    nameless = media()
    del nameless["stream_id"]
    assert decode_frame(encoded(nameless)) == MediaFrame("inbound", 2, PAYLOAD)
    assert decode_frame(b'{"event":"stop"}') == StreamStop(stream_id="")


@pytest.mark.parametrize(
    "raw",
    [
        encoded(media(track="t" * 100_000)),
        encoded({"event": "e" * 100_000, "stream_id": 7}),
        encoded(start(media_format={"encoding": 5, "e" * 100_000: 1})),
    ],
)
def test_no_message_is_as_long_as_what_came(raw: bytes):
    with pytest.raises(FrameMalformed) as malformed:
        decode_frame(raw)
    assert len(str(malformed.value)) < 300


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ({}, "event"),
        ({"event": 3}, r"\$\.event"),
        ({"event": "media"}, "`media`"),
        (media(track="sideways"), "`media.track` is 'sideways'"),
        (media(track=None), "track"),
        (media(chunk=None), "chunk"),
        (media(chunk="two"), r"media\.chunk"),
        (media(chunk=-1), r"media\.chunk"),
        (media(chunk="9" * 5000), r"media\.chunk"),
        (media(payload=None), "payload"),
        (media(payload="not base64!"), r"media\.payload"),
        (start(call_control_id=None), "call_control_id"),
        (start(call_control_id=""), "call_control_id"),
        (start(media_format=None), "media_format"),
        (start(media_format={"encoding": "PCMU", "sample_rate": 0}), "sample_rate"),
        (media(chunk="-3"), r"media\.chunk"),
        (media(chunk="1.5"), r"media\.chunk"),
        ({"event": "start", "stream_id": 7, "start": start()["start"]}, "stream_id"),
        ({"event": "start"}, "start"),
        ({"event": "dtmf", "stream_id": "S1"}, "dtmf"),
        ({"event": "dtmf", "dtmf": {"digit": "12"}}, "digit"),
        ({"event": "dtmf", "dtmf": {"digit": "1"}, "occurred_at": "noon"}, "occurred_at"),
        (
            {
                "event": "dtmf",
                "dtmf": {"digit": "1"},
                "occurred_at": "0001-01-01T00:00:00+23:59",
            },
            "occurred_at",
        ),
        ({"event": "error", "payload": "oops"}, "payload"),
        ([], "object"),
    ],
)
def test_a_malformed_frame_names_its_field(frame: object, named: str):
    with pytest.raises(FrameMalformed, match=named):
        decode_frame(encoded(frame))


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"[" * 100_000, b'{"event":"media","x":' + b"[" * 100_000, "\ud800"]
)
def test_bytes_that_are_no_json_at_all(raw: bytes | str):
    with pytest.raises(FrameMalformed):
        decode_frame(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def values(*likely: object) -> st.SearchStrategy[object]:
    return st.sampled_from(likely) | JSON


FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "event": values("media", "start", "stop", "error", "connected", "dtmf"),
        "dtmf": values({"digit": "1"}),
        "occurred_at": values("2026-03-01T12:00:00Z", "0001-01-01T00:00:00+23:59"),
        "stream_id": values("S1"),
        "media": st.fixed_dictionaries(
            {},
            optional={
                "track": values("inbound"),
                "chunk": values("1"),
                "payload": values(b64(PAYLOAD)),
            },
        )
        | JSON,
        "start": st.fixed_dictionaries(
            {},
            optional={
                "call_control_id": values("v3:x"),
                "media_format": values({"encoding": "PCMU", "sample_rate": 8000}),
                "client_state": JSON,
                "custom_parameters": JSON,
            },
        )
        | JSON,
        "payload": JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(st.binary() | st.text() | FRAMES.map(encoded) | JSON.map(encoded))
def test_no_frame_raises_anything_else(raw: bytes | str):
    with suppress(FrameMalformed):
        decode_frame(raw)


def test_a_media_frame_takes_microseconds():
    raw = encoded(media())
    rounds = []
    for _ in range(5):
        began_s = time.perf_counter()
        for _ in range(2000):
            decode_frame(raw)
        rounds.append((time.perf_counter() - began_s) / 2000)
    # about 1 µs on a quiet machine; json.loads with base64 alone takes 5
    assert min(rounds) < 10e-6


# --- webhooks -------------------------------------------------------------------------------------


def webhook(event_type: str, payload: dict[str, Any] | None = None, **changes: object) -> bytes:
    leg = {
        "call_control_id": "v3:leg",
        "call_leg_id": "L1",
        "call_session_id": "X1",
        "client_state": b64("transfer:t1"),
        "connection_id": "7",
    }
    fields: dict[str, object] = {
        "record_type": "event",
        "event_type": event_type,
        "id": "evt-1",
        "occurred_at": "2026-03-01T12:00:00.250000Z",
        "payload": leg | (payload or {}),
    }
    return encoded(
        {
            "data": {k: v for k, v in (fields | changes).items() if v is not None},
            "meta": {"attempt": 1, "delivered_to": "https://x"},
        }
    )


def test_what_every_webhook_says():
    event = decode_webhook(
        webhook("call.initiated", {"direction": "outgoing", "from": "+1312", "to": "+1313"})
    )
    assert (event.event_id, event.event_type, event.kind) == (
        "evt-1",
        "call.initiated",
        "initiated",
    )
    assert event.at == NOW + timedelta(milliseconds=250)
    assert (event.leg_id, event.call_leg_id, event.call_session_id) == ("v3:leg", "L1", "X1")
    assert event.client_state == "transfer:t1"
    assert (event.direction, event.from_, event.to) == ("outgoing", "+1312", "+1313")


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("call.initiated", "initiated"),
        ("call.answered", "answered"),
        ("call.hangup", "hangup"),
        ("call.bridged", "bridged"),
        ("call.gather.ended", "gather_ended"),
        ("call.speak.ended", "speak_ended"),
        ("call.machine.detection.ended", "machine_detected"),
        ("call.machine.premium.detection.ended", "machine_detected"),
        ("streaming.started", "stream_started"),
        ("streaming.stopped", "stream_stopped"),
        ("streaming.failed", "stream_failed"),
        ("call.recording.saved", "recording_saved"),
        ("call.machine.premium.greeting.ended", "other"),
        ("call.speak.started", "other"),
        ("call.streaming.started", "other"),
        ("call.of.the.wild", "other"),
    ],
)
def test_every_event_has_a_kind(event_type: str, kind: str):
    assert decode_webhook(webhook(event_type)).kind == kind


def test_a_line():
    data = {
        "transcript": "hello",
        "is_final": False,
        "confidence": 0.977219,
        "transcription_track": "outbound",
    }
    event = decode_webhook(webhook("call.transcription", {"transcription_data": data}))
    assert (event.kind, event.text, event.is_final) == ("line", "hello", False)
    assert (event.confidence, event.track) == (0.977219, "outbound")


@pytest.mark.parametrize("confidence", [None, "high", True, 7])
def test_a_line_with_as_little_as_some_engines_say(confidence: object):
    data = {"transcript": "hello", "confidence": confidence}
    event = decode_webhook(webhook("call.transcription", {"transcription_data": data}))
    assert (event.text, event.is_final, event.confidence, event.track) == (
        "hello",
        True,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("odd", "read"),
    [
        (rb'"caf\ud800"', "caf?"),
        (rb'"\udc00\ud800 and \ud83d\ude00"', "?? and \N{GRINNING FACE}"),
        (b'"\xed\xa0\x80"', "???"),
    ],
)
def test_half_a_letter_costs_no_line(odd: bytes, read: str):
    raw = webhook("call.transcription", {"transcription_data": {"transcript": "ODD"}})
    event = decode_webhook(raw.replace(b'"ODD"', odd))
    assert event.text.replace("?", "") == read.replace("?", "")
    event.text.encode()


@pytest.mark.parametrize(
    "number", [b"1e999", b"-1e999", b"9" * 400, b"0.1e-999", b"NaN", b"-Infinity"]
)
def test_a_number_beyond_all_bounds_costs_no_event(number: bytes):
    raw = webhook("call.cost", {"total_cost": 77777}).replace(b"77777", number)
    assert decode_webhook(raw).kind == "other"
    raw = webhook(
        "call.transcription", {"transcription_data": {"transcript": "a", "confidence": 7}}
    )
    assert decode_webhook(raw.replace(b":7}", b":" + number + b"}")).confidence in (None, 0.0)


def test_a_hangup_and_a_failed_stream_say_why():
    event = decode_webhook(
        webhook("call.hangup", {"hangup_cause": "normal_clearing", "hangup_source": "callee"})
    )
    assert (event.cause, event.source) == ("normal_clearing", "callee")
    event = decode_webhook(webhook("streaming.failed", {"failure_reason": "connection_failed"}))
    assert event.cause == "connection_failed"


def test_the_answers_of_machine_detection():
    event = decode_webhook(
        webhook("call.machine.premium.detection.ended", {"result": "human_residence"})
    )
    assert event.status == "human_residence"
    # all that comes when the beep is quicker than the detection
    event = decode_webhook(
        webhook("call.machine.premium.greeting.ended", {"result": "beep_detected"})
    )
    assert (event.kind, event.status) == ("machine_detected", "machine")


def test_a_gathered_digit():
    event = decode_webhook(webhook("call.gather.ended", {"status": "valid", "digits": "1"}))
    assert (event.status, event.digits) == ("valid", "1")


def test_a_bridge_with_and_without_its_peer():
    event = decode_webhook(webhook("call.bridged", {"bridged_call_control_id": "v3:peer"}))
    assert event.peer_leg_id == "v3:peer"
    assert decode_webhook(webhook("call.bridged")).peer_leg_id is None


def test_a_recording_names_no_leg():
    payload = {
        "call_control_id": None,
        "recording_urls": {"mp3": "https://m", "wav": "https://w"},
        "recording_id": "r1",
    }
    event = decode_webhook(webhook("call.recording.saved", payload))
    assert (event.leg_id, event.call_leg_id) == (None, "L1")
    assert (event.recording_url, event.recording_id) == ("https://w", "r1")
    payload["recording_urls"] = {}
    payload["public_recording_urls"] = {"mp3": "https://p"}
    assert decode_webhook(webhook("call.recording.saved", payload)).recording_url == "https://p"


@pytest.mark.parametrize(
    ("occurred_at", "at"),
    [
        ("2026-03-01T12:00:00Z", NOW),
        ("2026-03-01T12:00:00.5Z", NOW + timedelta(milliseconds=500)),
        ("2026-03-01T12:00:00.123456789Z", NOW + timedelta(microseconds=123457)),
        ("2026-03-01T14:00:00.000+02:00", NOW),
        ("2026-03-01T12:00:00.000000", NOW),
    ],
)
def test_times_with_any_fraction(occurred_at: str, at: datetime):
    event = decode_webhook(webhook("call.answered", occurred_at=occurred_at))
    assert event.at == at
    assert event.at.tzinfo is UTC


@pytest.mark.parametrize(
    ("client_state", "read"),
    [("%%%", ""), (b64(b"\xff\xfe"), ""), ("", ""), (None, ""), (7, ""), ("eA", "x")],
)
def test_a_client_state_that_is_not_ours(client_state: object, read: str):
    event = decode_webhook(webhook("call.answered", {"client_state": client_state}))
    assert event.client_state == read


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"{}", "`data`"),
        (b"[1]", "object"),
        (b"", "unreadable"),
        (b"\xff", "unreadable"),
        (webhook("call.cost", {"cost": 7}).replace(b":7}", b":" + b"9" * 5000), "unreadable"),
        (b"[" * 100_000, "unreadable"),
        (webhook("call.answered", id=None), r"`id` - at `\$.data`"),
        (webhook("call.answered", id=""), r"data\.id"),
        (webhook("x").replace(b"event_type", b"kind"), r"`event_type` - at `\$.data`"),
        (webhook("call.answered", occurred_at=None), "occurred_at"),
        (webhook("call.answered", occurred_at="yesterday"), r"data\.occurred_at"),
        (webhook("call.answered", occurred_at="0001-01-01T00:00:00+23:59"), "occurred_at"),
        (webhook("call.answered").replace(b'"payload":{', b'"payload":7,"x":{'), r"data\.payload"),
        (webhook("call.hangup", {"call_control_id": None}), "call_control_id"),
        (webhook("call.transcription"), r"transcription_data\.transcript"),
        (encoded({"event_type": "call_answered", "payload": {}}), "version 2|API version 1"),
        (encoded({"record_type": "event", "id": "x"}), "API version 1"),
    ],
)
def test_a_malformed_webhook_names_its_field(raw: bytes, named: str):
    with pytest.raises(WebhookMalformed, match=named):
        decode_webhook(raw)


WEBHOOKS = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries(
            {},
            optional={
                "id": values("e1"),
                "event_type": values("call.transcription", "call.hangup", "call.recording.saved"),
                "occurred_at": values("2026-03-01T12:00:00Z") | st.datetimes().map(str),
                "payload": st.fixed_dictionaries(
                    {},
                    optional={
                        "call_control_id": values("v3:x"),
                        "client_state": values("%", "eA"),
                        "transcription_data": values({"transcript": "hi"}),
                        "recording_urls": JSON,
                        "direction": JSON,
                    },
                )
                | JSON,
            },
        )
        | JSON
    }
)


@settings(max_examples=150, deadline=None)
@given(st.binary() | WEBHOOKS.map(encoded) | JSON.map(encoded))
def test_no_webhook_raises_anything_else(raw: bytes):
    try:
        event = decode_webhook(raw)
    except WebhookMalformed:
        return
    assert event.at.tzinfo is UTC


# --- signatures -----------------------------------------------------------------------------------

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECK = SignatureCheck(b64(KEY.public_key().public_bytes_raw()), tolerance_s=300)
BODY = b'{"data":{}}'


def signed(body: bytes = BODY, *, at: datetime = NOW) -> dict[str, str]:
    timestamp = str(int(at.timestamp()))
    return {
        "Telnyx-Signature-Ed25519": b64(KEY.sign(timestamp.encode() + b"|" + body)),
        "Telnyx-Timestamp": timestamp,
    }


def test_what_telnyx_signed_passes():
    CHECK.verify(BODY, signed(), NOW)
    CHECK.verify(BODY, signed(), NOW.astimezone(timezone(timedelta(hours=5))))


@pytest.mark.parametrize("age_s", [-301, 301])
def test_a_signature_has_its_time(age_s: int):
    with pytest.raises(SignatureInvalid, match="s ago by our clock"):
        CHECK.verify(BODY, signed(at=NOW - timedelta(seconds=age_s)), NOW)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"Telnyx-Timestamp": "noon"}, TIMESTAMP_HEADER),
        ({"Telnyx-Timestamp": "9" * 5000}, TIMESTAMP_HEADER),
        ({"Telnyx-Timestamp": "١٢"}, TIMESTAMP_HEADER),
        ({"Telnyx-Signature-Ed25519": "äöü"}, SIGNATURE_HEADER),
        ({"Telnyx-Signature-Ed25519": b64(b"short")}, SIGNATURE_HEADER),
        ({"Telnyx-Signature-Ed25519": b64(bytes(64))}, SIGNATURE_HEADER),
    ],
)
def test_a_wrong_header_is_named(changes: dict[str, str], named: str):
    with pytest.raises(SignatureInvalid, match=named):
        CHECK.verify(BODY, signed() | changes, NOW)


@pytest.mark.parametrize("missing", ["Telnyx-Timestamp", "Telnyx-Signature-Ed25519"])
def test_a_missing_header_is_named(missing: str):
    headers = {name: value for name, value in signed().items() if name != missing}
    with pytest.raises(SignatureInvalid, match=f"{missing.lower()} is missing"):
        CHECK.verify(BODY, headers, NOW)


def test_a_changed_body_does_not_pass():
    with pytest.raises(SignatureInvalid, match="does not fit"):
        CHECK.verify(BODY + b" ", signed(), NOW)


@pytest.mark.parametrize("key", ["", "no base64", b64(bytes(31)), "schlüssel"])
def test_a_wrong_key_names_its_setting(key: str):
    with pytest.raises(SettingsInvalid, match="SIDECAR_TELNYX_PUBLIC_KEY"):
        SignatureCheck(key, tolerance_s=300)
