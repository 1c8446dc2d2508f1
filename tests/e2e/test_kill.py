"""kill -9: what was acknowledged is in a record afterwards, and all stores agree."""

import asyncio
from collections import Counter
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import free_port
from tests.e2e.front_door import Api, eventually
from tests.e2e.phone import Phone
from tests.e2e.recordings import talk, write_calls
from tests.e2e.sidecar import Sidecar, finish

pytestmark = pytest.mark.e2e

CALLS, LINES = 6, 30
# the recordings take about 130 s
SPEED = "10"
# between the lines of our own calls: ten calls that talk without a pause are not what this is about
PAUSE_S = 0.05


async def heard_lines(api: Api, *, at_least: int) -> None:
    """Return when the live calls together have heard so many lines."""

    async def look() -> bool:
        live = (await api.get("/v1/calls"))["live"]
        return sum(len(call["segments"]) for call in live) >= at_least

    await eventually(look, within_s=60)


async def talking_calls(api: Api, count: int) -> set[str]:
    """Return the live calls once there are so many, each of them well into its conversation."""

    async def look() -> set[str] | None:
        live = (await api.get("/v1/calls"))["live"]
        far = {call["call_id"] for call in live if len(call["segments"]) >= LINES // 3}
        return far if len(far) == count else None

    return await eventually(look, within_s=60)


async def test_a_replay_goes_on_where_the_service_was_killed(sidecar: Sidecar, tmp_path: Path):
    port = str(free_port())
    ids = write_calls(tmp_path / "calls.jsonl", calls=CALLS, lines=LINES)
    url = sidecar.start(PORT=port)
    replay = sidecar.open("replay", str(tmp_path / "calls.jsonl"), "--speed", SPEED, "--json")
    async with Api(url) as api:
        await heard_lines(api, at_least=CALLS * LINES // 3)
        sidecar.kill()
        sidecar.start(PORT=port)
        finished = await asyncio.to_thread(finish, replay)
        assert finished.code == 0, finished.err
        report = finished.json()
        assert [call["call_id"] for call in report["calls"]] == ids
        assert report["verify"] == "clean"
        # it was away: some webhooks had to come again
        assert sum(call["retries"] for call in report["calls"]) > 0
        for number, call in enumerate(report["calls"]):
            assert call["acknowledged"] == LINES
            view = await api.call(call["sidecar_call_id"])
            assert not view["interrupted"]
            said = [text for _, text in talk(number, LINES)]
            assert [segment["text"] for segment in view["segments"]] == said
    verify = sidecar.run("verify")
    assert verify.code == 0, verify.out + verify.err
    assert f"{CALLS} records in " in verify.out


async def test_no_acknowledged_line_is_missing_when_everything_is_killed(
    sidecar: Sidecar, tmp_path: Path
):
    sidecar.settings["RESUME_S"] = "2"
    write_calls(tmp_path / "calls.jsonl", calls=CALLS, lines=LINES)
    signer = WebhookSigner.generate()
    phones: dict[str, Phone] = {}
    async with Api(sidecar.start()) as api:
        sidecar.open("replay", str(tmp_path / "calls.jsonl"), "--speed", SPEED)
        for _ in range(4):
            phone = Phone(api, signer)
            phones[(await api.attach(phone.leg_id, passive=True))["call_id"]] = phone
            await phone.answer()
        talking = [asyncio.create_task(_talk(phone)) for phone in phones.values()]
        live = await talking_calls(api, len(phones) + CALLS)
        await asyncio.to_thread(sidecar.kill_everything)
        await asyncio.gather(*talking)
    async with Api(sidecar.start()) as api:
        for call_id in live:
            view = await api.delivered(call_id)
            assert view["interrupted"]
            if (ours := phones.get(call_id)) is not None:
                kept = Counter(segment["text"] for segment in view["segments"])
                assert len(ours.acknowledged) > 10
                assert not Counter(ours.acknowledged) - kept
                # the one that was under way may be there as well: once
                assert max(kept.values()) == 1
        assert {call["call_id"] for call in (await api.get("/v1/calls"))["finished"]} == live
        assert await api.is_clean()


async def _talk(phone: Phone) -> None:
    """Say one line after the other until nobody answers any more."""
    try:
        for index in count():
            await phone.say(f"This is what I wanted to tell you, number {index}.")
            await asyncio.sleep(PAUSE_S)
    except aiohttp.ClientError:
        return
