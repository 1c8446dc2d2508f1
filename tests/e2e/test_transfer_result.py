"""What a closer says of a transfer, through the front door and the command line."""

import asyncio
import json

import pytest

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.embedded import running_stack
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
    (lead_id,) = [x["lead_id"] for x in leads if x["external_id"] == phone.leg_id]
    assert await status_in_the_graph(shared, lead_id, "zoom_scheduled") == "zoom_scheduled"
    # a person's edit, long after the call
    edit = json.dumps({"status": "closed"}).encode()
    assert (await api.send("PUT", f"/v1/leads/{lead_id}", body=edit))[0] == 200
    assert await status_in_the_graph(shared, lead_id, "closed") == "closed"
    assert await api.is_clean()


async def status_in_the_graph(shared: Shared, lead_id: str, wanted: str) -> object:
    """Return the status of the lead's node, once it is the one that is waited for."""
    urls = running_stack(shared.sidecar.folder)
    assert urls is not None
    address = BoltAddress(
        url=urls.neo4j or "", user=urls.neo4j_user or "", password=urls.neo4j_password or ""
    )
    status: object = None
    async with Bolt(address, serialize_writes=True) as bolt:
        for _ in range(100):
            rows = await bolt.read("MATCH (l:Lead {id: $id}) RETURN l.status AS status", id=lead_id)
            status = rows[0]["status"] if rows else None
            if status == wanted:
                break
            await asyncio.sleep(0.15)
    return status


async def test_a_transfer_that_never_was_is_named_with_what_to_do(shared: Shared):
    ran = await asyncio.to_thread(shared.sidecar.run, "transfer", "result", "x", "--rating", "4")
    assert ran.code == 2
    assert "GET /v1/calls/CALL_ID" in ran.err
    ran = await asyncio.to_thread(shared.sidecar.run, "transfer", "result", "x")
    assert ran.code == 2
    assert "--rating, --result or --notes" in ran.err
