"""Stopping: what has hung up is delivered first, what is still up goes on after the restart."""

import asyncio
import signal
import time

import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.front_door import Api
from tests.e2e.phone import Phone
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e

SIGNER = WebhookSigner.generate()


async def open_call(api: Api, *lines: str) -> tuple[Phone, str]:
    phone = Phone(api, SIGNER)
    call_id = (await api.attach(phone.leg_id, passive=True))["call_id"]
    await phone.answer()
    for line in lines:
        await phone.say(line)
    return phone, call_id


async def test_a_stop_delivers_what_hung_up_and_a_call_still_up_goes_on_afterwards(
    sidecar: Sidecar,
):
    async with Api(sidecar.start()) as api:
        ended = [await open_call(api, f"This is call {number}.") for number in range(3)]
        up, up_id = await open_call(api, "Before the stop I said this.")
        for phone, _ in ended:
            await phone.hang_up()
    assert await asyncio.to_thread(sidecar.stop) == 0
    assert not sidecar.processes_left()

    async with Api(sidecar.start()) as api:
        for _, call_id in ended:
            view = await api.delivered(call_id)
            assert not view["interrupted"]
        # that was before the stop: this one has delivered nothing yet
        assert 'state="delivered"' not in await api.get("/metrics")
        assert (await api.call(up_id))["state"] == "live"
        again = Phone(api, SIGNER)
        again.leg_id = up.leg_id
        await again.say("After the restart I said that.")
        await again.hang_up()
        view = await api.delivered(up_id)
        assert not view["interrupted"]
        assert 'state="delivered"' in await api.get("/metrics")
        said = [segment["text"] for segment in view["segments"]]
        assert said == ["Before the stop I said this.", "After the restart I said that."]
        assert len((await api.get("/v1/calls"))["finished"]) == 4
        assert await api.is_clean()


async def test_a_second_signal_hurries_and_the_next_start_delivers_what_is_left(sidecar: Sidecar):
    patient = {"LATE_LINES_S": "40", "DRAIN_S": "60"}
    async with Api(sidecar.start(**patient)) as api:
        phone, call_id = await open_call(api, "I have to go now.")
        await phone.hang_up()
    sidecar.tell(signal.SIGTERM)
    await asyncio.sleep(1.0)
    assert sidecar.is_running(), "it waits for late lines of the call that hung up"
    told_at = time.monotonic()
    sidecar.tell(signal.SIGTERM)
    assert await asyncio.to_thread(sidecar.ended) == 130
    assert time.monotonic() - told_at < 15
    assert not sidecar.processes_left()

    async with Api(sidecar.start()) as api:
        view = await api.delivered(call_id)
        assert not view["interrupted"]
        assert [segment["text"] for segment in view["segments"]] == ["I have to go now."]
        assert await api.is_clean()
