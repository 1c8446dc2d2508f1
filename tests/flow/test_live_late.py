"""What comes after a call was closed: acknowledged is only what a version of its record has."""

import asyncio

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.errors import EmbeddingFailed, JournalFailed
from agent_sidecar.live.live_call import LATE_S, LiveCall
from tests.domain.playbooks import MONEY, NOTHING
from tests.flow.shell import PRICE, PROSPECT, Shell, running


async def a_recorded_call(shell: Shell) -> LiveCall:
    call = await shell.attach()
    await call.feed(shell.line("hello"))
    await asyncio.sleep(1)
    await shell.tell("hangup", cause="normal_clearing", source="callee")
    await call.recorded.wait()
    return call


async def test_a_line_after_the_end_makes_a_new_version_before_it_is_acknowledged():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.journal.commits_after_s = 0.1
        acknowledged = shell.tell("line", text=PRICE)
        await asyncio.sleep(0.05)
        assert not acknowledged.done()
        await acknowledged
        record = await shell.record(call.call_id)
        assert record.full_text == f"prospect: hello\nprospect: {PRICE}"
        assert [o.type for o in record.objections] == [MONEY]
        assert record.segments[1].vector == NOTHING.tobytes()
        assert await shell.version(call.call_id) == 2
        # nothing is left for the next start, and the stores are told
        assert shell.journal.events(call.call_id) == []
        assert shell.recorded == 2
        assert shell.states() == ["open", "ended", "recorded", "recorded"]


async def test_the_record_is_the_one_of_a_line_that_was_in_time():
    async def played(line_after_s: float):
        shell = Shell()
        async with running(shell):
            call = await a_recorded_call(shell) if line_after_s > 2 else await shell.attach()
            said = shell.event("line", text=PRICE)
            if line_after_s > 2:
                await shell.pass_on(said)
            else:
                await call.feed(shell.line("hello"))
                await asyncio.sleep(1)
                await shell.tell("hangup", cause="normal_clearing", source="callee")
                await asyncio.sleep(line_after_s)
                await shell.tell("line", text=PRICE)
                await call.recorded.wait()
            return await shell.record(call.call_id)

    late, in_time = await played(9.0), await played(1.0)
    assert late.outcome == in_time.outcome
    assert late.progression == in_time.progression
    assert late.engagement == in_time.engagement
    assert late.question_count == in_time.question_count
    assert late.ended_at - late.started_at == in_time.ended_at - in_time.started_at


async def test_late_lines_start_nothing():
    async with running() as shell:
        call = await a_recorded_call(shell)
        for _ in range(3):
            await shell.tell("line", text=f"how do i start, {PRICE}")
        await asyncio.sleep(5)
        assert shell.publisher.of_type("hint") == []
        assert shell.publisher.of_type("transfer") == []
        assert shell.chroma.questions == []
        assert not call.call.log.transfers


async def test_a_line_between_the_close_and_the_commit_is_not_lost():
    async with running() as shell:
        call = await shell.attach()
        await shell.tell("hangup")
        shell.journal.commits_after_s = 1.0
        await asyncio.sleep(2.5)
        assert call.call.is_closed
        assert not call.recorded.is_set()
        await shell.tell("line", text="goodbye")
        assert (await shell.record(call.call_id)).full_text == "prospect: goodbye"


async def test_what_cannot_be_kept_is_to_be_sent_again():
    async with running() as shell:
        call = await a_recorded_call(shell)
        said = shell.event("line", text="goodbye")
        shell.journal.fails_with = JournalFailed("disk full")
        with pytest.raises(JournalFailed):
            await shell.pass_on(said)
        assert shell.registry.already(said.event_id) is None
        shell.journal.fails_with = None
        await shell.pass_on(said)
        assert (await shell.record(call.call_id)).full_text == "prospect: hello\nprospect: goodbye"
        assert await shell.version(call.call_id) == 2
        assert shell.registry.already(said.event_id) is not None


async def test_a_crash_before_the_new_version_means_that_nothing_was_acknowledged():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.journal.commits_after_s = 5.0
        acknowledged = shell.tell("line", text="goodbye")
        await asyncio.sleep(4)
        # what a restart would find now
        assert not acknowledged.done()
        assert await shell.version(call.call_id) == 1
        assert [w.event_type for w in shell.journal.webhooks] == ["call.hangup"]


async def test_the_same_line_twice_waits_for_the_one_that_is_being_kept():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.embedder.answers_after_s, shell.journal.commits_after_s = 0.1, 0.1
        said = shell.event("line", text="goodbye")
        first, second = shell.pass_on(said), shell.pass_on(said)
        await second
        assert (await shell.record(call.call_id)).full_text.count("goodbye") == 1
        await first
        assert await shell.version(call.call_id) == 2


async def test_many_late_lines_are_all_kept():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.embedder.answers_after_s = 0.05
        await asyncio.gather(*[shell.tell("line", text=f"word{n}") for n in range(20)])
        words = (await shell.record(call.call_id)).full_text.split("\n")[1:]
        assert words == [f"prospect: word{n}" for n in range(20)]


async def test_a_late_line_without_a_vector_is_kept_too():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.embedder.fails_with = EmbeddingFailed("no")
        await shell.tell("line", text="goodbye")
        assert (await shell.record(call.call_id)).segments[1].vector is None


async def test_what_changes_nothing_makes_no_version():
    async with running() as shell:
        call = await a_recorded_call(shell)
        await shell.tell("hangup")
        await shell.tell("line", text="good", is_final=False)
        await call.feed(ev.TransferWanted(at=call.now(), by="Ann"))
        await call.feed(ev.StreamChanged(at=call.now(), kind="stopped", frames_lost=3))
        assert await shell.version(call.call_id) == 1


async def test_a_recording_and_an_outcome_complete_the_record():
    async with running() as shell:
        call = await a_recorded_call(shell)
        url = "https://recordings.example.com/1.wav"
        await shell.tell("recording_saved", recording_url=url, recording_id="r1")
        shown = await shell.registry.post_outcome(call.call_id, "disqualified", None)
        await shell.tell("line", text="goodbye")
        record = await shell.record(call.call_id)
        assert record.recording.url == url
        assert (record.outcome.final_status, record.outcome.posted) == ("disqualified", True)
        assert record.full_text.endswith("goodbye")
        assert shown["state"] == "finished"
        assert await shell.version(call.call_id) == 4


async def test_a_recorded_call_is_not_live_any_more():
    async with running() as shell:
        call = await a_recorded_call(shell)
        assert shell.registry.find(call.call_id) is None
        assert shell.registry.find(PROSPECT) is None
        assert shell.registry.live_calls() == []
        shown = await shell.registry.finished(call.call_id)
        assert shown is not None
        assert shown["state"] == "finished"


async def test_what_comes_much_later_is_nobody_s():
    async with running() as shell:
        call = await a_recorded_call(shell)
        await asyncio.sleep(LATE_S + 1)
        await shell.tell("line", text="goodbye")
        assert await shell.version(call.call_id) == 1
        assert [w.event_type for w in shell.journal.webhooks][-1] == "call.line"


async def test_a_leg_that_is_attached_again_belongs_to_its_new_call():
    async with running() as shell:
        first = await a_recorded_call(shell)
        second = await shell.attach()
        assert second is not first
        await asyncio.sleep(LATE_S)
        await shell.tell("line", text="here again")
        await asyncio.sleep(1)
        assert [s.text for s in second.call.log.segments] == ["here again"]
        assert await shell.version(first.call_id) == 1


async def test_a_webhook_is_known_only_once_what_it_says_is_kept():
    async with running() as shell:
        await shell.attach()
        await asyncio.sleep(1)
        writes: list[str] = []
        append, receive = shell.journal.append, shell.journal.receive

        def note_append(call_id, event):
            writes.append(type(event).__name__)
            return append(call_id, event)

        def note_receive(webhook):
            writes.append("webhook")
            return receive(webhook)

        shell.journal.append = note_append  # type: ignore[method-assign]
        shell.journal.receive = note_receive  # type: ignore[method-assign]
        await shell.tell("hangup")
        # a crash between the two makes the webhook new again, and nothing is lost
        assert writes[:2] == ["LegLeft", "webhook"]


async def test_who_feeds_a_call_that_is_forgotten_is_told_so():
    async with running() as shell:
        call = await a_recorded_call(shell)
        await asyncio.sleep(LATE_S)
        with pytest.raises(JournalFailed, match="forgotten"):
            await call.feed(shell.line("goodbye"))


async def test_a_bug_in_understanding_a_late_line_is_no_acknowledgement():
    async with running() as shell:
        call = await a_recorded_call(shell)

        def fail(event: ev.CallEvent) -> list[ev.Effect]:
            raise ZeroDivisionError

        call.call.receive = fail  # type: ignore[method-assign]
        with pytest.raises(JournalFailed, match="could not be completed"):
            await shell.tell("line", text="goodbye")


async def test_whoever_waits_for_a_late_line_may_leave():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shell.journal.commits_after_s = 0.5
        waiting = shell.tell("line", text="goodbye")
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.sleep(1)
        assert (await shell.record(call.call_id)).full_text.endswith("goodbye")


async def test_a_recorded_call_is_shown_by_its_leg_too():
    async with running() as shell:
        call = await a_recorded_call(shell)
        shown = await shell.registry.finished(PROSPECT)
        assert shown is not None
        assert shown["call_id"] == call.call_id
