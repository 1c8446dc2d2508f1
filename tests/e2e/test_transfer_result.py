"""What a closer says of a transfer, through the front door and the command line."""

import asyncio
import json

import pytest

from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api
from tests.e2e.phone import Phone

pytestmark = pytest.mark.e2e


async def test_a_closer_s_word_reaches_the_stores_and_said_again_changes_nothing(
    shared: Shared, api: Api
):
    phone = Phone(api, shared.signer)
    lead = {"external_id": phone.leg_id, "first_name": "Maria"}
    call_id = (await api.attach(phone.leg_id, lead=lead))["call_id"]
    await phone.say("How do I start?")
    assert (await api.post(f"/v1/calls/{call_id}/transfer"))[0] == 202
    await phone.hang_up()
    (transfer,) = (await api.delivered(call_id))["transfers"]
    transfer_id = transfer["transfer_id"]
    status, shown = await api.post(f"/v1/transfers/{transfer_id}/result", {"rating": 8})
    assert (status, shown["rating"], shown["result"]) == (200, 8, None)
    for _ in range(2):
        command = ("transfer", "result", transfer_id, "--result", "scheduled", "--notes", "at 9")
        ran = await asyncio.to_thread(shared.sidecar.run, *command, "--json")
        assert ran.code == 0, ran.err
        said = json.loads(ran.out)
        assert (said["rating"], said["result"], said["notes"]) == (8, "scheduled", "at 9")
    view = await api.delivered(call_id)
    assert view["transfers"] == [{k: v for k, v in said.items() if k != "call_id"}]
    assert view["version"] == 3
    assert await api.is_clean()
    leads = (await api.get("/v1/leads"))["leads"]
    assert [x["status"] for x in leads if x["external_id"] == phone.leg_id] == ["zoom_scheduled"]


async def test_a_transfer_that_never_was_is_named_with_what_to_do(shared: Shared):
    ran = await asyncio.to_thread(shared.sidecar.run, "transfer", "result", "x", "--rating", "4")
    assert ran.code == 2
    assert "GET /v1/calls/CALL_ID" in ran.err
    ran = await asyncio.to_thread(shared.sidecar.run, "transfer", "result", "x")
    assert ran.code == 2
    assert "--rating, --result or --notes" in ran.err
