"""Stores that are down: calls go on, hints say what they lacked, nothing is lost."""

import asyncio

import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.front_door import STORES, Api, Listener
from tests.e2e.phone import Phone
from tests.e2e.sidecar import Sidecar
from tests.e2e.test_bad_start import NOWHERE

pytestmark = pytest.mark.e2e

SIGNER = WebhookSigner.generate()
OBJECTION = "Wait, is this one of those pyramid schemes?"


async def play(api: Api, number: str) -> str:
    """Play a short call; return its id once its record is in the journal."""
    phone = Phone(api, SIGNER, number)
    call_id = str((await api.attach(phone.leg_id, passive=True))["call_id"])
    await phone.answer()
    async with Listener(api) as listener:
        await phone.say(OBJECTION)
        hint = await listener.hint(call_id)
    assert "chroma" in hint["degraded"]
    assert hint["latency_ms"] <= 500
    await phone.hang_up()
    await api.finished(call_id)
    return call_id


async def test_calls_go_on_without_their_stores_which_are_told_when_they_are_back(
    sidecar: Sidecar,
):
    # all of them down at once: there is only the journal
    async with Api(sidecar.start(**NOWHERE, DRAIN_S="1")) as api:
        first = await play(api, "+12025550161")
        assert (await api.call(first))["stores"] == dict.fromkeys(STORES, "pending")
        told = await api.get("/v1/stores")
        assert [row["answering"] for row in told["stores"]] == [False] * 4
        assert not told["live_state"]["answering"]
        assert [row["deliveries"]["pending"] for row in told["stores"]] == [1] * 4
        assert all(row["deliveries"]["oldest_pending_s"] > 0 for row in told["stores"])
        insights = await api.get("/v1/insights?experience_level=beginner&phone=%2B12025550161")
        assert insights["degraded"] == sorted(STORES)
        assert insights["profile"]["fields"] == {"experience_level": "beginner"}
        assert insights["latency_ms"] < 500
        assert not await api.is_clean()
    assert await asyncio.to_thread(sidecar.stop) == 0

    # one of them down: the others do not wait for it
    down = {"CHROMA_URL": NOWHERE["CHROMA_URL"]}
    async with Api(sidecar.start(**down)) as api:
        second = await play(api, "+12025550162")
        for call_id in (first, second):
            view = await api.delivered(call_id, ("conversations", "postgres", "neo4j"))
            assert view["stores"]["chroma"] == "pending"
        assert "chroma: 2 not delivered yet" in str((await api.get("/v1/verify"))["summary"])
    doctor = await asyncio.to_thread(sidecar.run, "doctor", "--json", **down)
    assert doctor.code == 1
    findings = {f["part"]: f for f in doctor.json()["findings"]}
    assert not findings["store chroma"]["ok"]
    assert findings["store neo4j"]["ok"]
    assert "chroma" in findings["deliveries"]["text"]
    assert "the oldest for" in findings["deliveries"]["text"]
    assert await asyncio.to_thread(sidecar.stop) == 0

    async with Api(sidecar.start()) as api:
        for call_id in (first, second):
            view = await api.delivered(call_id)
            assert [segment["text"] for segment in view["segments"]] == [OBJECTION]
        assert await api.is_clean()
