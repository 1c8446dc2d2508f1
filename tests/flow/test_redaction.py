"""What must not be kept is gone before anything is written: at every door that words come in by."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import msgspec
import pytest

from agent_sidecar.adapters.telnyx_redaction import redacted_webhook
from agent_sidecar.domain.discretion import Discretion
from agent_sidecar.domain.events import LineHeard
from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.redaction import KINDS, RedactedKind, Redaction
from agent_sidecar.errors import SettingsInvalid
from agent_sidecar.learning.ingest import ingest
from agent_sidecar.settings import read_settings
from tests.flow.test_ingest import parts
from tests.flow.web_door import CALL, LEG, House, eventually, open_house

CARDS = Redaction(frozenset({"cards"}))
CARD = "4111 1111 1111 1111"


def body(text: str, *, event_id: str = "evt-1", **more: object) -> bytes:
    payload = {
        "call_control_id": LEG,
        "call_session_id": "4111111111111111",
        "from": "+14155552671",
        "transcription_data": {"transcript": text, "is_final": True, "confidence": 0.9},
        **more,
    }
    data = {
        "event_type": "call.transcription",
        "id": event_id,
        "occurred_at": "2026-03-02T15:00:00.1Z",
        "payload": payload,
    }
    return msgspec.json.encode({"data": data, "meta": {"attempt": 1}})


def discreet_house() -> AbstractAsyncContextManager[House]:
    return open_house(discretion=Discretion(CARDS), redact_webhook=redacted_webhook)


def lines(house: House) -> list[str]:
    return [event.text for event in house.registry.call.events if isinstance(event, LineHeard)]


@pytest.mark.real_time  # sockets of this machine
async def test_a_webhook_is_fed_and_kept_without_the_number():
    async with discreet_house() as house:
        for number, text in enumerate([f"it is {CARD}", "and the cvv?", "123"]):
            raw = body(text, event_id=f"evt-{number}")
            status, _ = await house.ask("POST", "/telnyx/webhooks", data=raw)
            assert status == 200
        fed = [event.text for event, _ in house.registry.webhooks]
        assert fed == ["it is [card]", "and the cvv?", "[cvv]"]
        first, _, last = [msgspec.json.decode(kept.body) for _, kept in house.registry.webhooks]
        assert first["data"]["payload"]["transcription_data"]["transcript"] == "it is [card]"
        # what it is matched by stays
        assert first["data"]["payload"]["call_session_id"] == "4111111111111111"
        assert first["meta"] == {"attempt": 1}
        assert last["data"]["payload"]["transcription_data"]["transcript"] == "[cvv]"


@pytest.mark.real_time  # sockets of this machine
async def test_posted_lines_those_of_the_hints_socket_and_notes_are_kept_without_it():
    async with discreet_house() as house:
        said = {"speaker": "prospect", "text": f"my card, {CARD}"}
        await house.ask("POST", f"/v1/calls/{CALL}/transcript", json=said)
        async with house.client.ws_connect("/v1/hints") as socket:
            line = {"type": "transcript", "call_id": CALL, "speaker": "agent", "text": CARD}
            await socket.send_json(line)
            await eventually(lambda: len(lines(house)) == 2)
        assert lines(house) == ["my card, [card]", "[card]"]
        result = {"rating": 9, "notes": f"paid with {CARD}"}
        await house.ask("POST", "/v1/transfers/call-0:t1/result", json=result)
        assert [result.notes for result in house.registry.results] == ["paid with [card]"]


async def test_imported_lines_that_lose_words_are_embedded_anew():
    vector = bytes(4 * 384)
    segments = (
        SpokenSegment(speaker="agent", text="And the card number?", start_s=0, end_s=1),
        SpokenSegment(speaker="prospect", text="4111", start_s=1, end_s=2, vector=vector),
    )
    made = parts(redaction=CARDS)
    call = RecordedCall(call_id="c", segments=segments, model=made.embedder.name)
    dimension = made.embedder.dimension
    with_vector = replace(segments[1], vector=bytes(4 * dimension))
    assert await ingest(replace(call, segments=(segments[0], with_vector)), made)
    committed = await made.journal.record("c")  # type: ignore[arg-type]
    assert committed is not None
    assert [s.text for s in committed.record.segments] == ["And the card number?", "[card]"]
    assert committed.record.segments[1].vector != bytes(4 * dimension)


def test_a_body_without_anything_to_take_out_stays_as_it_came():
    raw = body("Hello there")
    assert redacted_webhook(raw, CARDS.text, keys=True) is raw
    assert redacted_webhook(b"{", CARDS.text, keys=True) == b"{"
    assert redacted_webhook(b'{"data":1}', CARDS.text, keys=True) == b'{"data":1}'


def test_everything_that_is_said_in_a_body_is_redacted_and_pressed_keys_too():
    history = [{"role": "user", "content": CARD}, 7]
    raw = body("Hi", message_history=history, digit="4", digits="4111111111111111#")
    payload = msgspec.json.decode(redacted_webhook(raw, CARDS.text, keys=True))["data"]["payload"]
    assert payload["message_history"] == [{"role": "user", "content": "[card]"}, 7]
    assert (payload["digit"], payload["digits"]) == ("[key]", "[card]#")
    kept = msgspec.json.decode(redacted_webhook(raw, CARDS.text, keys=False))
    assert kept["data"]["payload"]["digit"] == "4"


def test_a_body_that_only_others_read_as_json_is_redacted_too():
    raw = body("it is 4111 1111 1111 1111 X").replace(b" X", b" \\ud83d")
    assert b"4111 1111" not in redacted_webhook(raw, CARDS.text, keys=True)


def test_the_setting_names_kinds_and_refuses_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIDECAR_REDACT", "cards, iban")
    assert read_settings().redact == frozenset[RedactedKind]({"cards", "iban"})
    monkeypatch.setenv("SIDECAR_REDACT", "cards,passwords")
    with pytest.raises(SettingsInvalid, match="SIDECAR_REDACT: passwords: must be some of cards"):
        read_settings()
    monkeypatch.delenv("SIDECAR_REDACT")
    assert read_settings().redact is None
    assert read_settings(redact=frozenset(KINDS)).redact == frozenset(KINDS)
