"""Calls that the journal has forgotten are still shown and corrected."""

import pytest

from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import STORES, CallId, TransferId
from agent_sidecar.errors import CallUnknown, StoreUnavailable, TransferUnknown
from agent_sidecar.live.finished import FinishedCalls
from tests.builders import at, rich_record
from tests.domain.playbooks import PLAYBOOK
from tests.fakes import FakeConversations, FakeJournal

CALL = CallId("call-1")


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
def conversations() -> FakeConversations:
    return FakeConversations()


@pytest.fixture
async def finished(journal: FakeJournal, conversations: FakeConversations) -> FinishedCalls:
    """Return what shows call-1, at its second version and pruned."""
    for _ in range(2):
        await journal.commit(rich_record(CALL))
    for store in STORES:
        due = await journal.claim(store, limit=1)
        if store == "conversations":
            await conversations.apply_all([delivery.record for delivery in due])
        await journal.ack(due)
    committed = await journal.record(CALL)
    assert committed is not None
    assert await journal.prune([committed]) == 1
    return FinishedCalls(journal, conversations, PLAYBOOK)


async def test_it_is_shown_as_delivered_everywhere(finished):
    view = await finished.view(CALL)
    assert view["call_id"] == CALL
    assert view["version"] == 2
    assert view["stores"] == dict.fromkeys(STORES, "delivered")


async def test_a_list_is_filled_up_with_older_ones(finished, journal, conversations):
    await journal.commit(rich_record("new"))
    await conversations.apply(rich_record("older", started_at=at(-3600)))
    await conversations.apply(rich_record("new"))
    listed = [view["call_id"] for view in await finished.newest(9)]
    assert listed == ["new", CALL, "older"]
    assert len(await finished.newest(2)) == 2
    conversations.fails_with = StoreUnavailable("down")
    assert [view["call_id"] for view in await finished.newest(9)] == ["new"]


async def test_a_correction_is_the_next_version(finished, journal):
    await finished.correct(CALL, "disqualified", None)
    committed = await journal.record(CALL)
    assert committed.version == 3
    assert committed.record.outcome.final_status == "disqualified"
    assert committed.record.segments == rich_record(CALL).segments
    assert len(await journal.claim("neo4j", limit=9)) == 1


async def test_so_is_what_the_closer_says(finished, journal):
    (first, *_) = rich_record(CALL).transfers
    result = TransferResult(posted_at=at(9999), rating=7, conversion="scheduled", notes=None)
    attempt, is_news = await finished.judge(CALL, first.transfer_id, result)
    assert is_news
    assert attempt.result.rating == 7
    assert (await journal.record(CALL)).version == 3
    with pytest.raises(TransferUnknown):
        await finished.judge(CALL, TransferId("call-1:t99"), result)


@pytest.mark.parametrize("hangs", [False, True])
async def test_without_its_store_an_old_call_is_not_unknown_but_out_of_reach(
    finished, conversations, hangs
):
    if hangs:
        conversations.answers_after_s = 10**6
    else:
        conversations.fails_with = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable, match="only the conversation store has it"):
        await finished.correct(CALL, "disqualified", None)
    # nobody here has ever heard of this one
    assert await finished.view(CallId("nobody")) is None
    with pytest.raises(CallUnknown):
        await finished.correct(CallId("nobody"), "disqualified", None)
