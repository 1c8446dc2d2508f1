import asyncio

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import JournalFailed, RecordRejected, StoreUnavailable
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.report import Difference, Unreachable
from agent_sidecar.wrapup.verify import Audited, verify
from tests.builders import stranger_record
from tests.contract.test_journal import opening
from tests.fakes import FakeClock, FakeConversations, FakeCounts, FakeJournal, FakeProjection

CALL_IDS = [CallId(f"call-{n}") for n in range(3)]


@pytest.fixture
async def journal() -> FakeJournal:
    journal = FakeJournal()
    for call_id in CALL_IDS:
        await journal.commit(stranger_record(call_id))
    return journal


@pytest.fixture
def stores() -> list[FakeProjection]:
    return [FakeConversations(), *(FakeProjection(s) for s in STORES if s != "conversations")]


def audited(
    journal: FakeJournal, stores: list[FakeProjection], counts: FakeCounts | None = None
) -> Audited:
    conversations = stores[0]
    assert isinstance(conversations, FakeConversations)
    return Audited(
        journal=journal,
        projections=stores,
        conversations=conversations,
        counts=counts or FakeCounts(),
    )


async def deliver(journal: FakeJournal, stores: list[FakeProjection]) -> None:
    relay = Relay(journal, stores, FakeClock())
    task = asyncio.create_task(relay.run())
    await relay.drain(asyncio.get_running_loop().time() + 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_everything_everywhere_is_clean(journal, stores):
    await deliver(journal, stores)
    report = await verify(audited(journal, stores))
    assert report.clean
    assert report.records == 3
    assert report.summary() == ["3 records in conversations, postgres, neo4j, chroma: clean"]
    assert report.to_json() == {
        "verify": "clean",
        "records": 3,
        "open_calls": 0,
        "pending": dict.fromkeys(STORES, 0),
        "parked": dict.fromkeys(STORES, 0),
        "differences": [],
        "unreachable": {},
        "notes": [],
        "dropped": [],
    }


async def test_an_empty_journal_is_clean(stores):
    report = await verify(audited(FakeJournal(), stores))
    assert report.clean
    assert report.records == 0


async def test_open_calls_are_counted_and_do_not_make_it_unclean(journal, stores):
    await deliver(journal, stores)
    await journal.append(CallId("live"), opening("live"))
    report = await verify(audited(journal, stores))
    assert report.clean
    assert report.open_calls == 1
    assert "1 calls are open" in report.summary()[1]


async def test_what_a_store_lost_or_changed_is_named(journal, stores):
    await deliver(journal, stores)
    postgres, neo4j = stores[1], stores[2]
    del postgres.held[CALL_IDS[0]]
    neo4j.held[CALL_IDS[1]] = stranger_record(CALL_IDS[1], hangup_cause="other")
    report = await verify(audited(journal, stores))
    assert not report.clean
    assert report.differences == (
        Difference(store="postgres", call_id=CALL_IDS[0], text="missing"),
        Difference(store="neo4j", call_id=CALL_IDS[1], text="hangup_cause differs"),
    )
    assert "neo4j: call call-1: hangup_cause differs" in report.summary()


async def test_what_was_not_delivered_is_pending_and_not_a_difference(journal, stores):
    stores[3].fails_with = StoreUnavailable("down")
    stores[2].fails_for["call-1"] = RecordRejected("bad")
    with capture_logs():
        await deliver(journal, stores)
    stores[3].fails_with = None
    report = await verify(audited(journal, stores))
    assert not report.clean
    assert report.differences == ()
    assert report.pending == {"conversations": 0, "postgres": 0, "neo4j": 0, "chroma": 3}
    assert report.parked == {"conversations": 0, "postgres": 0, "neo4j": 1, "chroma": 0}
    assert "chroma: 3 not delivered yet: they follow while `serve` runs" in report.summary()
    assert "neo4j: 1 parked: `agent-sidecar deliveries` says why" in report.summary()


async def test_what_was_dropped_is_named_with_its_reason_and_is_clean(journal, stores):
    stores[2].fails_for["call-1"] = RecordRejected("bad")
    with capture_logs():
        await deliver(journal, stores)
    await journal.drop(CallId("call-1"), "neo4j", by="Ann", reason="a test call")
    report = await verify(audited(journal, stores))
    assert report.clean
    assert "neo4j: call call-1: dropped by Ann: a test call" in report.summary()
    assert report.to_json()["dropped"] == [
        {"store": "neo4j", "call_id": "call-1", "by": "Ann", "reason": "a test call"}
    ]


@pytest.mark.parametrize(
    ("adversity", "reason"),
    [
        ({"fails_with": StoreUnavailable("connection refused")}, "connection refused"),
        ({"answers_after_s": 10**6}, "no answer within 60 s"),
        ({"fails_with": KeyError("bug")}, "the comparison failed: KeyError('bug')"),
    ],
)
async def test_a_store_that_cannot_be_asked_does_not_hide_the_others(
    journal, stores, adversity, reason
):
    await deliver(journal, stores)
    for name, value in adversity.items():
        setattr(stores[0], name, value)
    del stores[1].held[CALL_IDS[2]]
    with capture_logs():
        report = await verify(audited(journal, stores))
    assert report.unreachable == (Unreachable(store="conversations", reason=reason),)
    assert [d.store for d in report.differences] == ["postgres"]
    assert f"conversations: not reachable: {reason}" in report.summary()
    assert report.notes == ("calls that nobody knows were not looked for: a source is out",)
    assert not report.clean


async def test_only_the_wanted_calls_are_looked_at(journal, stores):
    await deliver(journal, stores)
    stores[1].held.clear()
    await journal.append(CallId("live"), opening("live"))
    report = await verify(audited(journal, stores), only={CALL_IDS[1]})
    assert report.records == 1
    assert report.open_calls == 0
    assert [d.call_id for d in report.differences] == [CALL_IDS[1]]


async def test_a_record_that_is_corrected_meanwhile_is_pending(journal, stores):
    await deliver(journal, stores)
    slow = stores[1]
    slow.answers_after_s = 5.0
    audit = asyncio.create_task(verify(audited(journal, stores)))
    await asyncio.sleep(1)
    corrected = stranger_record(CALL_IDS[0], hangup_cause="corrected")
    await journal.commit(corrected)
    # written, not acknowledged yet
    slow.held[CALL_IDS[0]] = corrected
    report = await audit
    assert report.differences == ()
    assert report.pending == {**dict.fromkeys(STORES, 0), "postgres": 1}


async def test_a_record_that_is_corrected_and_delivered_meanwhile_is_compared_anew(journal, stores):
    await deliver(journal, stores)
    slow = stores[1]
    slow.answers_after_s = 5.0
    audit = asyncio.create_task(verify(audited(journal, stores)))
    await asyncio.sleep(1)
    corrected = stranger_record(CALL_IDS[0], hangup_cause="corrected")
    await journal.commit(corrected)
    slow.held[CALL_IDS[0]] = corrected
    await journal.ack(await journal.claim("postgres", limit=5))
    report = await audit
    assert report.clean


async def test_a_hundred_differences_are_summed_up(stores):
    journal = FakeJournal()
    for n in range(120):
        await journal.commit(stranger_record(f"call-{n}"))
    await deliver(journal, stores)
    stores[0].held.clear()
    report = await verify(audited(journal, stores))
    assert len(report.differences) == 120
    assert report.summary()[-1] == "... and 100 more differences"
    assert len(report.summary()) == 22


async def test_a_journal_that_cannot_be_read_is_no_clean_report(journal, stores):
    journal.reads_fail_with = JournalFailed("it is damaged")
    with pytest.raises(JournalFailed):
        await verify(audited(journal, stores))


# --- what the journal has forgotten, and what nobody knows ----------------------------------------


async def test_what_the_journal_has_forgotten_is_compared_with_the_conversation_store(
    journal, stores
):
    await deliver(journal, stores)
    for call_id in CALL_IDS:
        journal.lose(call_id)
    assert (await verify(audited(journal, stores))).clean
    del stores[3].held[CALL_IDS[1]]
    stores[1].held[CALL_IDS[2]] = stranger_record(CALL_IDS[2], hangup_cause="other")
    report = await verify(audited(journal, stores))
    assert report.records == 3
    assert [str(d) for d in report.differences] == [
        "postgres: call call-2: hangup_cause differs",
        "chroma: call call-1: missing",
    ]


async def test_a_forgotten_document_that_cannot_be_read_is_named_and_no_stranger(journal, stores):
    await deliver(journal, stores)
    journal.lose(CALL_IDS[0])
    stores[0].broken.add(CALL_IDS[0])
    report = await verify(audited(journal, stores))
    (found,) = report.differences
    assert (found.store, found.call_id, found.kind) == ("conversations", "call-0", "unreadable")


async def test_a_call_that_one_store_made_up_is_too_many(journal, stores):
    await deliver(journal, stores)
    stores[2].held[CallId("ghost")] = stranger_record("ghost")
    (found,) = (await verify(audited(journal, stores))).differences
    assert (found.store, found.call_id, found.kind) == ("neo4j", "ghost", "extra")


async def test_a_call_that_several_stores_hold_was_one_once(journal, stores):
    await deliver(journal, stores)
    journal.lose(CALL_IDS[0])
    del stores[0].held[CALL_IDS[0]]
    report = await verify(audited(journal, stores))
    assert {(d.store, d.kind) for d in report.differences} == {
        ("postgres", "lost"),
        ("neo4j", "lost"),
        ("chroma", "lost"),
    }
    assert "postgres and neo4j and chroma hold it" in report.differences[0].text


async def test_a_call_that_comes_meanwhile_is_no_stranger(journal, stores):
    await deliver(journal, stores)
    stores[1].answers_after_s = 5.0
    audit = asyncio.create_task(verify(audited(journal, stores)))
    await asyncio.sleep(1)
    await journal.commit(stranger_record("new"))
    stores[2].held[CallId("new")] = stranger_record("new")
    report = await audit
    assert report.differences == ()


async def test_counts_that_are_wrong_are_named_without_a_call(journal, stores):
    await deliver(journal, stores)
    counts = FakeCounts()
    counts.wrong = ("ANSWERED_BY x of phase:1: tried is 4 instead of 3",)
    report = await verify(audited(journal, stores, counts))
    assert not report.clean
    assert report.summary()[-1] == "neo4j: ANSWERED_BY x of phase:1: tried is 4 instead of 3"
    assert report.to_json()["differences"] == [
        {"store": "neo4j", "call_id": None, "kind": "counts", "text": counts.wrong[0]}
    ]


async def test_counts_that_cannot_be_compared_are_a_note(journal, stores):
    await deliver(journal, stores)
    counts = FakeCounts()
    counts.moves = True
    report = await verify(audited(journal, stores, counts))
    assert report.clean
    assert report.notes == (
        "neo4j: the counts were not compared: calls came all the time: run it again later",
    )
    counts.moves, counts.fails_with = False, StoreUnavailable("gone")
    report = await verify(audited(journal, stores, counts))
    assert report.unreachable == (Unreachable(store="neo4j", reason="gone"),)
