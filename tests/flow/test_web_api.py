"""The API: who may use it, what each route does, and what bad input gets."""

import socket
from datetime import UTC, datetime, time
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from agent_sidecar.domain.events import LineHeard, TransferWanted
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import Lead, TransferId
from agent_sidecar.errors import (
    CallEnded,
    CommandRefused,
    CommandUncertain,
    PortInUse,
    SettingsInvalid,
    StoreUnavailable,
)
from agent_sidecar.live.requests import AttachRequest, SuggestRequest
from tests.flow.web_door import CALL, CALL_NOW, LEG, NOW, TRANSFER, House, open_house

pytestmark = pytest.mark.real_time  # sockets of this machine

BY_LEG = "/v1/calls/" + quote(LEG, safe="")
BY_CALL = f"/v1/calls/{CALL}"
KEY = "s3cret-ä"
OF_TRANSFER = "/v1/transfers/call-0%3At1/result"
BEARER = {"Authorization": f"Bearer {KEY}"}


# --- who may come in ------------------------------------------------------------------------------

ROUTES = [
    ("GET", "/v1/calls"),
    ("GET", BY_CALL),
    ("POST", BY_LEG + "/attach"),
    ("POST", BY_CALL + "/detach"),
    ("POST", BY_CALL + "/transfer"),
    ("POST", BY_CALL + "/transcript"),
    ("POST", BY_CALL + "/outcome"),
    ("POST", OF_TRANSFER),
    ("POST", "/v1/streams"),
    ("POST", "/v1/suggest"),
    ("GET", "/v1/availability"),
    ("PUT", "/v1/availability/Kevin"),
    ("GET", "/v1/leads"),
    ("POST", "/v1/leads"),
    ("GET", "/v1/leads/1"),
    ("PUT", "/v1/leads/1"),
    ("GET", "/v1/insights"),
    ("GET", "/v1/stores"),
    ("GET", "/v1/verify"),
    ("POST", "/v1/verify/repair"),
    ("POST", "/v1/stores/neo4j/rebuild"),
    ("GET", "/v1/stores/neo4j/rebuild"),
    ("GET", "/v1/learning"),
    ("GET", "/v1/hints"),
    ("GET", "/%76%31/calls"),
    ("GET", "/v1/nothing"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_the_token_that_is_set(method: str, path: str):
    async with open_house(api_token=KEY) as house:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}):
            status, body = await house.ask(method, f"{path}?token={KEY}", headers=headers)
            assert (status, body["error"]) == (401, "Unauthorized")
            assert "SIDECAR_API_TOKEN" in body["message"]
        assert house.counts.of["requests_refused", "api_token"] == 3


async def test_the_right_token_opens():
    async with open_house(api_token=KEY) as house:
        status, _ = await house.ask("GET", "/v1/calls", headers=BEARER)
        assert status == 200


async def test_sockets_may_give_it_in_the_url():
    async with open_house(api_token=KEY) as house:
        async with house.client.ws_connect(f"/v1/hints?token={quote(KEY)}"):
            pass
        async with house.client.ws_connect("/v1/hints", headers=BEARER):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.client.ws_connect("/v1/hints?token=wrong")
        assert refused.value.status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_machines_need_no_token(path: str):
    async with open_house(api_token=KEY) as house, house.client.get(path) as answer:
        assert answer.status == 200


async def test_without_a_token_a_foreign_name_for_this_machine_opens_nothing():
    evil = {"Host": "evil.example:18471", "Origin": "http://evil.example:18471"}
    async with open_house(public_url="https://sidecar.example.com") as house:
        refused = await house.ask("GET", "/v1/calls", headers=evil)
        ours = await house.ask("GET", "/v1/calls", headers={"Host": "sidecar.example.com"})
    assert (refused[0], ours[0]) == (403, 200)


async def test_without_a_token_other_peoples_web_pages_stay_outside():
    async with open_house(public_url="https://us.example") as house:
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            ("https://us.example", 200),
            (f"http://127.0.0.1:{house.port}", 200),
        ):
            answer = await house.ask("GET", "/v1/calls", headers={"Origin": origin})
            assert answer[0] == status, origin
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await house.client.ws_connect("/v1/hints", origin="https://evil.example")


# --- calls ----------------------------------------------------------------------------------------


async def test_calls_are_shown_live_and_finished():
    async with open_house() as house:
        _, body = await house.ask("GET", "/v1/calls?limit=7")
        assert [call["state"] for call in body["live"]] == ["live"]
        assert body["finished"] == [{"call_id": "call-0", "limit": 7}]
        for path, state in ((BY_CALL, "live"), (BY_LEG, "live"), ("/v1/calls/call-0", "finished")):
            status, body = await house.ask("GET", path)
            assert (status, body["state"]) == (200, state)
        status, body = await house.ask("GET", "/v1/calls/call-9")
        assert (status, body["error"]) == (404, "CallUnknown")


async def test_a_call_is_announced_with_what_is_known():
    async with open_house() as house:
        status, body = await house.ask(
            "POST",
            BY_LEG + "/attach",
            json={
                "lead": {"phone": "+13125550100", "first_name": "Ann", "shoe_size": 38},
                "agent": "human",
                "source": "replay",
                "external_id": "file-7",
                "passive": True,
                "started_at": "2026-03-02T15:00:00Z",
            },
        )
        assert status == 200
        assert body == {
            "call_id": CALL,
            "call_control_id": LEG,
            "token": "opens-it",
            "stream_url": "wss://us.example/telnyx/media",
            "streaming": True,
            "transcribing": False,
            "recording": False,
            "problems": ["transcription: refused"],
        }
        assert house.registry.attached == [
            (
                LEG,
                AttachRequest(
                    lead=Lead(phone="+13125550100", first_name="Ann", extra={"shoe_size": 38}),
                    agent="human",
                    source="replay",
                    external_id="file-7",
                    passive=True,
                    started_at=datetime(2026, 3, 2, 15, tzinfo=UTC),
                ),
            )
        ]


@pytest.mark.parametrize("path", [BY_LEG + "/attach", "/v1/streams"])
async def test_an_announcement_may_say_nothing(path: str):
    async with open_house() as house:
        status, body = await house.ask("POST", path)
        assert status in {200, 201}
        assert body["token"] == "opens-it"  # noqa: S105  # made up
        assert house.registry.attached[0][1] == AttachRequest(lead=Lead(), agent=None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CommandRefused("no", code="90034"), 502, "90034"),
        (CommandUncertain("who knows"), 504, None),
        (StoreUnavailable("down"), 503, None),
    ],
)
async def test_errors_behind_the_door_have_their_status(
    error: Exception, status: int, code: str | None
):
    async with open_house() as house:
        house.registry.defect = error
        answer = await house.ask("POST", BY_LEG + "/attach")
        assert answer[0] == status
        assert answer[1]["error"] == type(error).__name__
        assert answer[1].get("code") == code


async def test_a_defect_shows_nothing_of_the_inside():
    async with open_house() as house:
        house.registry.defect = ZeroDivisionError("secret")
        status, body = await house.ask("POST", BY_LEG + "/attach")
        assert (status, body["error"]) == (500, "InternalError")
        assert "secret" not in str(body)
        assert house.counts.of["requests_failed", ""] == 1


async def test_a_call_is_let_go():
    async with open_house() as house:
        assert await house.ask("POST", BY_LEG + "/detach") == (200, {"ok": True})
        assert (await house.ask("POST", "/v1/calls/x/detach"))[0] == 404


@pytest.mark.parametrize(
    ("body", "veto", "by"), [(None, False, "api"), ({"veto": True, "by": "Ann"}, True, "Ann")]
)
async def test_a_transfer_is_wanted_or_forbidden(body: Any, veto: bool, by: str):
    async with open_house() as house:
        status, answer = await house.ask("POST", BY_LEG + "/transfer", json=body)
        assert (status, answer) == (202, {"ok": True, "call_id": CALL})
        assert house.registry.call.events == [TransferWanted(at=CALL_NOW, by=by, veto=veto)]


async def test_a_line_is_heard():
    async with open_house() as house:
        status, answer = await house.ask(
            "POST", BY_CALL + "/transcript", json={"speaker": "prospect", "text": "Who is it?"}
        )
        [line] = house.registry.call.events
        assert status == 200
        assert isinstance(line, LineHeard)
        assert answer == {"ok": True, "call_id": CALL, "line_id": line.line_id}
        assert (line.party, line.text, line.is_final) == ("prospect", "Who is it?", True)
        assert line.at == CALL_NOW


@pytest.mark.parametrize("command", ["transfer", "transcript"])
async def test_a_call_that_is_not_up_hears_nothing(command: str):
    async with open_house() as house:
        body = {"speaker": "agent", "text": "Hi"} if command == "transcript" else {}
        status, answer = await house.ask("POST", f"/v1/calls/call-0/{command}", json=body)
        assert (status, answer["error"]) == (404, "CallUnknown")


async def test_an_outcome_is_posted_also_later():
    async with open_house() as house:
        status, answer = await house.ask(
            "POST", "/v1/calls/call-0/outcome", json={"final_status": "follow_up"}
        )
        assert (status, answer["final_status"], answer["qualified"]) == (200, "follow_up", None)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"rating": 4}, TransferResult(posted_at=NOW, rating=4)),
        (
            {"rating": 10, "result": "scheduled", "notes": "Tuesday at nine"},
            TransferResult(
                posted_at=NOW, rating=10, conversion="scheduled", notes="Tuesday at nine"
            ),
        ),
        ({"result": "follow_up"}, TransferResult(posted_at=NOW, conversion="followup")),
        ({"result": "not_interested"}, TransferResult(posted_at=NOW, conversion="declined")),
    ],
)
async def test_what_came_of_a_transfer_is_posted(body: Any, result: TransferResult):
    async with open_house() as house:
        path = f"/v1/transfers/{quote(TRANSFER, safe='')}/result"
        status, answer = await house.ask("POST", path, json=body)
        assert (status, answer["transfer_id"], answer["result"]) == (
            200,
            TRANSFER,
            result.conversion,
        )
        assert house.registry.results == [result]


async def test_a_transfer_that_nobody_knows_is_not_found():
    async with open_house() as house:
        status, answer = await house.ask("POST", "/v1/transfers/x/result", json={"rating": 4})
        assert (status, answer["error"]) == (404, "TransferUnknown")
        assert "GET /v1/calls/CALL_ID" in answer["message"]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", BY_LEG + "/attach", {"lead": {"phone": 5}}, "lead.phone"),
        ("POST", BY_LEG + "/attach", {"lead": "Ann"}, "lead"),
        ("POST", BY_LEG + "/attach", {"agent": "parrot"}, "agent"),
        ("POST", BY_LEG + "/attach", {"source": "dream"}, "source"),
        ("POST", BY_LEG + "/attach", {"started_at": "noon"}, "started_at"),
        ("POST", BY_LEG + "/attach", {"started_at": "2026-03-02T15:00:00"}, "started_at"),
        ("POST", BY_LEG + "/attach", {"pasive": True}, "pasive"),
        ("POST", BY_LEG + "/attach", {"role": "friend"}, "role"),
        ("POST", BY_LEG + "/attach", {"legs": {"prospect": "v3:x"}}, "legs"),
        ("POST", "/v1/streams", [], "(body)"),
        ("POST", BY_CALL + "/transfer", {"veto": "yes"}, "veto"),
        ("POST", BY_CALL + "/transcript", None, "(body)"),
        ("POST", BY_CALL + "/transcript", {"text": "Hi"}, "speaker"),
        ("POST", BY_CALL + "/transcript", {"speaker": "agent"}, "text"),
        ("POST", BY_CALL + "/transcript", {"speaker": "agent", "text": ""}, "text"),
        ("POST", BY_CALL + "/outcome", {}, "final_status"),
        ("POST", BY_CALL + "/outcome", {"final_status": "won"}, "final_status"),
        ("POST", OF_TRANSFER, {}, "(body)"),
        ("POST", OF_TRANSFER, {"rating": 0}, "rating"),
        ("POST", OF_TRANSFER, {"rating": 11}, "rating"),
        ("POST", OF_TRANSFER, {"rating": 4.5}, "rating"),
        ("POST", OF_TRANSFER, {"result": "won"}, "result"),
        ("POST", OF_TRANSFER, {"notes": " "}, "notes"),
        ("POST", OF_TRANSFER, {"stars": 5}, "stars"),
        ("POST", "/v1/suggest", {}, "text"),
        ("POST", "/v1/suggest", {"text": "x", "phase": 13}, "phase"),
        ("POST", "/v1/suggest", {"text": "x", "top_k": 0}, "top_k"),
        ("POST", "/v1/suggest", {"text": "x", "lead": {"city": 1}}, "lead.city"),
        ("POST", "/v1/leads", {"phone": 5}, "phone"),
        ("POST", "/v1/leads", {"extra": 5}, "extra"),
        ("PUT", "/v1/leads/l1", {"lead_id": "l2"}, "lead_id"),
        ("GET", "/v1/leads?limit=0", None, "limit"),
        ("GET", "/v1/calls?limit=many", None, "limit"),
        ("PUT", "/v1/availability/Nobody", {"hours": []}, "closer"),
        ("PUT", "/v1/availability/Kevin", {}, "hours"),
        ("PUT", "/v1/availability/Kevin", {"hours": [], "timezone": "Mars/Base"}, "timezone"),
        (
            "PUT",
            "/v1/availability/Kevin",
            {"hours": [{"day_of_week": 7, "start": "09:00", "end": "17:00"}]},
            "day_of_week",
        ),
        (
            "PUT",
            "/v1/availability/Kevin",
            {"hours": [{"day_of_week": 1, "start": "9 o'clock", "end": "17:00"}]},
            "hours[0].start",
        ),
        (
            "PUT",
            "/v1/availability/Kevin",
            {"hours": [{"day_of_week": 1, "start": "09:00", "end": "17:00+01:00"}]},
            "hours[0].end",
        ),
    ],
)
async def test_bad_input_names_its_field_and_what_to_do(
    method: str, path: str, body: Any, field: str
):
    async with open_house() as house:
        status, answer = await house.ask(method, path, json=body)
        assert (status, answer["error"]) == (400, "RequestInvalid")
        assert field in answer["field"]
        assert answer["message"]
        assert answer["what_to_do"]


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json(raw: bytes):
    async with open_house() as house:
        status, answer = await house.ask("POST", "/v1/suggest", data=raw)
        assert (status, answer["field"]) == (400, "(body)")


async def test_wrong_paths_and_methods_are_answered_in_json():
    async with open_house() as house:
        status, answer = await house.ask("GET", "/nowhere")
        assert (status, answer["error"]) == (404, "NotFound")
        status, answer = await house.ask("DELETE", "/v1/calls")
        assert (status, answer["error"]) == (405, "MethodNotAllowed")
        assert "GET" in answer["message"]


# --- leads, availability, suggestions -------------------------------------------------------------


async def test_leads_are_made_found_and_changed():
    async with open_house() as house:
        ann = {"phone": "+13125550100", "first_name": "Ann", "shoe_size": 38}
        status, made = await house.ask("POST", "/v1/leads", json=ann)
        assert status == 200
        assert (made["lead_id"], made["extra"]) == ("lead-1", {"shoe_size": 38})
        assert (await house.ask("POST", "/v1/leads", json=ann))[1]["lead_id"] == "lead-1"
        _, found = await house.ask("GET", "/v1/leads?phone=%2B13125550100")
        assert [lead["first_name"] for lead in found["leads"]] == ["Ann"]
        # what was shown may be sent back
        _, changed = await house.ask("PUT", "/v1/leads/lead-1", json=made | {"city": "Boston"})
        assert (changed["city"], changed["extra"]) == ("Boston", {"shoe_size": 38})
        assert (await house.ask("GET", "/v1/leads/lead-1"))[1]["city"] == "Boston"
        status, answer = await house.ask("GET", "/v1/leads/lead-9")
        assert (status, answer["message"]) == (404, "there is no lead lead-9")


async def show(house: House) -> Any:
    status, body = await house.ask("GET", "/v1/availability")
    assert status == 200
    [closer] = body["closers"]
    return closer


async def test_availability_is_hours_and_lease():
    async with open_house() as house:
        closer = await show(house)
        assert (closer["within_hours"], closer["leased"], closer["available"]) == (
            True,
            False,
            True,
        )
        assert (closer["name"], closer["timezone"]) == ("Kevin", "America/New_York")
        await house.closers.lease("Kevin", TransferId("t1"))
        closer = await show(house)
        assert (closer["within_hours"], closer["leased"], closer["available"]) == (
            True,
            True,
            False,
        )


async def test_hours_are_changed():
    async with open_house() as house:
        night = {"day_of_week": 0, "start": "22:00", "end": "02:30"}
        status, closer = await house.ask(
            "PUT", "/v1/availability/Kevin", json={"timezone": "Europe/Berlin", "hours": [night]}
        )
        assert status == 200
        assert (closer["hours"], closer["within_hours"]) == ([night], False)
        assert house.closers.schedules["Kevin"] == Closer(
            name="Kevin",
            # what the body leaves out stays
            number="+13125550100",
            timezone="Europe/Berlin",
            hours=(Window(day_of_week=0, start=time(22), end=time(2, 30)),),
        )


async def test_agents_that_pull_are_answered():
    async with open_house() as house:
        status, answer = await house.ask(
            "POST",
            "/v1/suggest",
            json={"text": "Too dear.", "objection": "price", "lead": {"city": "Boston"}},
        )
        assert (status, answer) == (
            200,
            {"hints": [{"strategy": "ask_back"}], "degraded": ["neo4j"], "latency_ms": 3.5},
        )
        [asked] = house.desk.asked
        assert isinstance(asked, SuggestRequest)
        assert (asked.text, asked.phase, asked.objection, asked.top_k) == (
            "Too dear.",
            None,
            "price",
            3,
        )
        assert asked.lead == {"city": "Boston"}


# --- machines -------------------------------------------------------------------------------------


async def test_what_machines_ask():
    async with open_house() as house:
        assert await house.ask("GET", "/healthz") == (200, {"ok": True})
        assert await house.ask("GET", "/readyz") == (200, {"ready": True, "journal": "ok"})
        status, body = await house.ask("GET", "/v1/stores")
        assert (status, body["stores"][0]["store"]) == (200, "postgres")
        assert (await house.ask("GET", "/v1/verify"))[1]["clean"] is True
        async with house.client.get("/metrics") as answer:
            assert await answer.text() == "sidecar_up 1\n"
            assert answer.content_type == "text/plain"


async def test_learning_metrics_are_told_of_as_many_days_as_are_asked_for():
    async with open_house() as house:
        for query, days in (("", 30), ("?days=1", 1), ("?days=3650", 3650)):
            status, body = await house.ask("GET", f"/v1/learning{query}")
            assert (status, body["beast_mode_score"], len(body["days"])) == (200, 5.0, days)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "week", "1.5", "", "٣", "9" * 5000])
async def test_no_number_of_days_is_refused_with_what_to_do(days: str):
    async with open_house() as house:
        status, body = await house.ask("GET", "/v1/learning", params={"days": days})
        assert (status, body["field"], body["what_to_do"]) == (400, "days", "leave days out for 30")


async def test_metrics_that_cannot_be_read_are_told_as_that():
    async def down(days: int) -> None:
        raise StoreUnavailable("PostgreSQL: down")

    async with open_house(learning=down) as house:
        status, body = await house.ask("GET", "/v1/learning")
        assert (status, body["message"]) == (503, "PostgreSQL: down")


async def test_who_is_not_ready_says_so():
    async with open_house(ready=lambda: (False, {"journal": "failed"})) as house:
        assert await house.ask("GET", "/readyz") == (503, {"ready": False, "journal": "failed"})


# --- the door itself ------------------------------------------------------------------------------


async def test_a_port_in_use_is_named():
    async with open_house() as house:
        with pytest.raises(PortInUse, match=rf"port {house.port} of 127\.0\.0\.1.*SIDECAR_PORT"):
            async with open_house(port=house.port):
                pass


async def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(SettingsInvalid, match=r"SIDECAR_HOST 192\.0\.2\.1"):
        async with open_house(host="192.0.2.1"):
            pass


async def test_after_a_stop_nobody_answers():
    async with open_house() as house:
        await house.door.aclose()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", house.port)) != 0


async def test_an_attach_may_say_whose_leg_it_is_and_name_the_others():
    async with open_house() as house:
        body = {"role": "agent", "call": "call-1", "legs": {"closer": "v3:kevin"}}
        await house.ask("POST", BY_LEG + "/attach", json=body)
        (_, request), *_ = house.registry.attached
        assert (request.role, request.call) == ("agent", "call-1")
        assert request.legs == {"closer": "v3:kevin"}


async def test_to_attach_to_a_call_that_is_over_is_a_conflict():
    async with open_house() as house:
        house.registry.defect = CallEnded("this call has ended")
        status, body = await house.ask("POST", BY_LEG + "/attach")
        assert (status, body["error"]) == (409, "CallEnded")


# --- the stores' sake -----------------------------------------------------------------------------


async def test_what_a_comparison_has_found_can_be_posted_as_it_came():
    found = [
        {"store": "neo4j", "call_id": "call-1", "kind": "differs", "text": "missing"},
        {"store": "neo4j", "call_id": None, "kind": "counts", "text": "tried is 1 instead of 2"},
    ]
    async with open_house() as house:
        body = {"verify": "not clean", "differences": found}
        status, answer = await house.ask("POST", "/v1/verify/repair", json=body)
        assert (status, answer["left"]) == (200, [])
        assert [(f.store, f.call_id, f.kind) for f in house.care.found] == [
            ("neo4j", "call-1", "differs"),
            ("neo4j", None, "counts"),
        ]
        body = {"differences": [{"store": "redis", "kind": "differs"}]}
        status, answer = await house.ask("POST", "/v1/verify/repair", json=body)
        assert (status, answer["field"]) == (400, "differences[0].store")


async def test_a_store_is_made_anew_by_name_and_its_progress_is_shown():
    async with open_house() as house:
        path = "/v1/stores/neo4j/rebuild"
        assert await house.ask("GET", path) == (200, {"store": "neo4j", "state": "none"})
        assert await house.ask("POST", path) == (202, {"store": "neo4j", "state": "clearing"})
        assert (await house.ask("GET", path))[1]["state"] == "clearing"
        for store in ("conversations", "redis"):
            status, answer = await house.ask("POST", f"/v1/stores/{store}/rebuild")
            assert (status, answer["what_to_do"]) == (400, "name one of postgres, neo4j, chroma")
