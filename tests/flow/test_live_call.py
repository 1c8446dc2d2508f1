import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import Processor

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.record import Acoustics, CallRecord
from agent_sidecar.domain.types import CallId, Lead, LegId
from agent_sidecar.errors import EmbeddingFailed, JournalFailed, StoreUnavailable
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.ports import OpenCall
from tests.domain.playbooks import REFRAME, like, reader
from tests.flow.shell import CLOSER, PRICE, PROSPECT, Shell, running

AN_HOUR_S = 3600.0
WITH_CONTEXT: Sequence[Processor] = [merge_contextvars]


async def hang_up(shell: Shell, call: LiveCall) -> None:
    """Let the prospect leave, and wait for the record."""
    await shell.tell("hangup", call.leg_id, cause="normal_clearing", source="callee")
    await call.recorded.wait()


def hints(shell: Shell) -> list[object]:
    return [m["strategy"] for m in shell.publisher.of_type("hint")]


# --- feeding ------------------------------------------------------------------------------------


async def test_feeding_awaits_nothing_and_keeps_the_journal_s_order():
    async with running() as shell:
        call = await shell.attach()
        opening = shell.journal.events(call.call_id)
        shell.journal.commits_after_s = 0.2
        lines = [shell.line(f"line {n}") for n in range(20)]
        kept = [call.feed(line) for line in lines]
        assert [s.text for s in shell.call().call.log.segments] == []
        assert shell.journal.events(call.call_id) == opening
        await asyncio.gather(*kept)
        heard = [e for e in shell.journal.events(call.call_id) if isinstance(e, ev.LineHeard)]
        assert heard == lines


async def test_interim_lines_are_heard_but_not_kept():
    async with running() as shell:
        call = await shell.attach()
        await call.feed(shell.line("that is too", is_final=False))
        await asyncio.sleep(1)
        kinds = {type(event).__name__ for event in shell.journal.events(call.call_id)}
        assert kinds == {"CallOpened", "LegJoined"}


async def test_what_cannot_be_kept_is_not_acknowledged_but_heard():
    async with running() as shell:
        call = await shell.attach()
        shell.journal.fails_with = JournalFailed("disk full")
        with pytest.raises(JournalFailed):
            await call.feed(shell.line("hello"))
        await asyncio.sleep(1)
        assert [s.text for s in call.call.log.segments] == ["hello"]


# --- hints --------------------------------------------------------------------------------------


async def test_a_line_gives_a_hint_with_its_true_latency():
    async with running() as shell:
        shell.embedder.answers_after_s, shell.chroma.answers_after_s = 0.03, 0.1
        call = await shell.attach()
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (hint,) = shell.publisher.of_type("hint")
        assert (hint["strategy"], hint["latency_ms"]) == (REFRAME, 130.0)
        assert hint["call_control_id"] == PROSPECT


async def test_each_hint_s_time_counts_from_its_own_line():
    async with running() as shell:
        shell.embedder.answers_after_s = 0.2
        call = await shell.attach()
        call.feed(shell.line("hello there"))
        await asyncio.sleep(0.1)
        call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (hint,) = shell.publisher.of_type("hint")
        assert hint["latency_ms"] == pytest.approx(200.0)


async def test_a_line_that_waited_for_an_earlier_one_counts_from_its_own_text():
    async with running() as shell:
        call = await shell.attach()
        shell.embedder.answers_after_s = AN_HOUR_S
        call.feed(shell.line("hello there"))
        await asyncio.sleep(0.1)
        shell.embedder.answers_after_s = 0.0
        call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (hint,) = shell.publisher.of_type("hint")
        # the first line was given up after 0.25 s
        assert hint["latency_ms"] == pytest.approx(150.0)


async def test_mere_sound_has_its_own_deadline_too():
    async with running() as shell:
        call = await shell.attach()
        await call.feed(shell.line("sounds great, I love it, how do i start"))
        await asyncio.sleep(30)
        call.feed(ev.TransferWanted(at=call.now(), by="Ann", veto=True))
        for second in range(8):
            start_s = 40.0 + 10 * second
            acoustics = Acoustics(talk_s=0.3, response_latency_s=6.0, volume_dbfs=-60.0)
            call.feed(
                ev.SpeechHeard(
                    party="prospect", start_s=start_s, end_s=start_s + 0.3, acoustics=acoustics
                )
            )
            await asyncio.sleep(10)
        asked_of_sound = [q for q in shell.chroma.questions if not q.text]
        assert asked_of_sound
        assert shell.counted("hints", "late") == 0


async def test_an_answer_that_is_too_late_is_no_hint_but_counted():
    async with running() as shell:
        call = await shell.attach()

        class SlowDesk:
            async def ask(self, question: Question, *, deadline: float):
                await asyncio.sleep(0.6)
                return shell.chroma.answer

        slow = LiveCall(
            call.call,
            replace(shell.parts, desk=SlowDesk()),  # type: ignore[arg-type]
            start_transfer=shell.registry._start_transfer,
            mend=shell.registry._mender.mend,
            on_recorded=lambda call: None,
        )
        running_slowly = asyncio.create_task(slow.run())
        await asyncio.sleep(0)
        await slow.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        assert hints(shell) == []
        assert shell.counted("hints", "late") == 1
        running_slowly.cancel()


@pytest.mark.parametrize("error", [EmbeddingFailed("no"), RuntimeError("bug"), None])
async def test_a_line_without_a_vector_is_understood_in_time(error: Exception | None):
    async with running() as shell:
        shell.embedder.fails_with = error
        shell.embedder.answers_after_s = 0.0 if error else AN_HOUR_S
        call = await shell.attach()
        await call.feed(shell.line(PRICE))
        await call.feed(shell.line("hello"))
        await asyncio.sleep(0.5)
        assert hints(shell) == [REFRAME]
        assert [(s.text, s.vector) for s in call.call.log.segments] == [
            (PRICE, None),
            ("hello", None),
        ]


async def test_stores_that_hang_cost_the_call_nothing_but_evidence():
    async with running() as shell:
        shell.chroma.answers_after_s = shell.neo4j.answers_after_s = AN_HOUR_S
        shell.neo4j.dies_after_s = 3.0
        shell.embedder.knows[PRICE] = like("when reframe", 0.95)
        call = await shell.attach()
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(0.5)
        (hint,) = shell.publisher.of_type("hint")
        assert hint["latency_ms"] == pytest.approx(350.0)
        assert hint["degraded"] == ["chroma", "neo4j"]


async def test_silence_is_counted_too():
    async with running() as shell:
        shell.chroma.answers_after_s = 0.1
        call = await shell.attach()
        call.feed(shell.line(PRICE))
        # two are asked for, but no second one is shown so soon
        call.feed(shell.line("really, it is too expensive"))
        await asyncio.sleep(1)
        assert len(shell.chroma.questions) == 2
        assert shell.counted("hints", "shown") == 1
        assert shell.counted("hints", "silent") == 1


async def test_nothing_is_remembered_of_lines_that_are_understood_or_repeated():
    async with running() as shell:
        call = await shell.attach()
        for _ in range(50):
            call.feed(shell.line("say it again and again"))
        await asyncio.sleep(1)
        assert len(call.call.log.segments) == 1
        assert call._heard_at == {}


# --- effects that fail --------------------------------------------------------------------------


async def test_an_effect_that_raises_does_not_end_the_call():
    async with running() as shell:
        shell.leads.fails_with = ZeroDivisionError()
        with capture_logs(WITH_CONTEXT) as logs:
            call = await shell.attach(lead=Lead(phone="+12125550142"))
            await asyncio.sleep(1)
        (failed,) = [entry for entry in logs if entry["event"] == "effect_failed"]
        assert (failed["effect"], failed["call_id"]) == ("lead", call.call_id)
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        assert hints(shell) == [REFRAME]


async def test_a_call_that_breaks_ends_neither_the_others_nor_the_service():
    async with running() as shell:
        broken, whole = await shell.attach(), await shell.attach(CLOSER)
        broken.recorded = None  # type: ignore[assignment]
        third = await shell.attach(LegId("v3:third"))
        third.recorded = 3  # type: ignore[assignment]
        await asyncio.sleep(1)
        await whole.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        assert hints(shell) == [REFRAME]


async def test_a_call_that_never_runs_leaves_nothing_behind():
    async with running() as shell:
        opened = ev.CallOpened(
            call_id=CallId("c9"), at=shell.clock.now(), source="live", agent="assistant"
        )
        call = LiveCall(
            Call(opened, reader()),
            shell.parts,
            start_transfer=shell.registry._start_transfer,
            mend=shell.registry._mender.mend,
            on_recorded=lambda call: None,
        )
        call.find_lead()
        await call.feed(shell.line(PRICE))


# --- the lead -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_lead_store_that_is_down_or_slow_holds_nobody_up(hangs: bool):
    async with running() as shell:
        shell.leads.answers_after_s = AN_HOUR_S if hangs else 0.0
        shell.leads.fails_with = None if hangs else StoreUnavailable("down")
        call = await shell.attach(lead=Lead(phone="+12125550142"))
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(0.5)
        assert hints(shell) == [REFRAME]
        await hang_up(shell, call)
        record = await shell.record(call.call_id)
        assert (record.lead.lead_id, record.lead.phone) == ("", "+12125550142")


async def test_a_lead_that_is_found_after_the_end_makes_a_new_version():
    async with running() as shell:
        shell.leads.answers_after_s = 5.0
        call = await shell.attach(lead=Lead(phone="+12125550142"))
        await hang_up(shell, call)
        assert (await shell.record(call.call_id)).lead.lead_id == ""
        await asyncio.sleep(5)
        assert (await shell.record(call.call_id)).lead.lead_id == "lead-1"
        assert await shell.version(call.call_id) == 2


# --- the end ------------------------------------------------------------------------------------


async def test_the_end_waits_the_grace_for_late_finals():
    async with running() as shell:
        call = await shell.attach()
        ended_s = asyncio.get_running_loop().time()
        await shell.tell("hangup")
        await asyncio.sleep(1.5)
        await shell.tell("line", text="well, goodbye then")
        await call.recorded.wait()
        assert asyncio.get_running_loop().time() - ended_s == pytest.approx(2.0)
        record = await shell.record(call.call_id)
        assert record.full_text == "prospect: well, goodbye then"
        assert await shell.version(call.call_id) == 1
        assert shell.states() == ["open", "ended", "recorded"]


async def test_to_end_twice_is_to_end_once():
    async with running() as shell:
        call = await shell.attach()
        await shell.tell("hangup")
        call.wrap_up("again", interrupted=True)
        await shell.tell("hangup")
        await asyncio.sleep(10)
        call.wrap_up("and again")
        await asyncio.sleep(10)
        assert await shell.version(call.call_id) == 1
        assert shell.states() == ["open", "ended", "recorded"]
        assert not (await shell.record(call.call_id)).interrupted


async def test_a_slow_closer_store_delays_the_end_by_a_second_at_most():
    async with running() as shell:
        shell.closers.answers_after_s = AN_HOUR_S
        call = await shell.attach()
        await hang_up(shell, call)
        assert asyncio.get_running_loop().time() == pytest.approx(3.0)
        assert not (await shell.record(call.call_id)).closer_available


async def test_a_record_that_cannot_be_kept_is_tried_until_it_can():
    async with running() as shell:
        call = await shell.attach()
        await call.feed(shell.line("hello"))
        await shell.tell("hangup")
        shell.journal.fails_with = JournalFailed("disk full")
        with capture_logs(WITH_CONTEXT) as logs:
            await asyncio.sleep(600)
        assert shell.registry.live_calls() == [call]
        assert [e["what_to_do"] for e in logs if e["event"] == "record_not_kept"]
        shell.journal.fails_with = None
        await call.recorded.wait()
        assert (await shell.record(call.call_id)).full_text == "prospect: hello"
        assert shell.recorded == 1


async def test_a_stop_in_the_middle_of_the_commit_waits_for_it():
    shell = Shell()
    async with running(shell):
        call = await shell.attach()
        await shell.tell("hangup")
        await asyncio.sleep(2.0)
        shell.journal.commits_after_s = 0.5
        call_id = call.call_id
        await asyncio.sleep(0)
    # stopped before the write was done
    assert await shell.version(call_id) == 1


async def test_a_stop_while_the_disk_is_full_does_not_wait_for_ever():
    shell = Shell()
    async with running(shell):
        call = await shell.attach()
        await shell.tell("hangup")
        shell.journal.fails_with = JournalFailed("disk full")
        await asyncio.sleep(30)
    shell.journal.fails_with = None
    (left,) = await shell.journal.open_calls()
    assert left.call_id == call.call_id


# --- after a restart ----------------------------------------------------------------------------


FIRST = ["hello, who is this?", PRICE]
SECOND = ["ok that is fair", "how do i start"]


async def play(shell: Shell, call: LiveCall, lines: list[str]) -> None:
    for text in lines:
        await asyncio.sleep(5)
        await call.feed(shell.line(text))


async def play_to_the_end(shell: Shell, call: LiveCall) -> CallRecord:
    await play(shell, call, SECOND)
    await asyncio.sleep(1)
    await hang_up(shell, call)
    return await shell.record(call.call_id)


async def test_a_restored_call_ends_in_the_record_of_one_that_was_never_interrupted():
    async with running() as shell:
        call = await shell.attach()
        call.feed(ev.TransferWanted(at=call.now(), by="Ann", veto=True))
        await play(shell, call, FIRST)
        await asyncio.sleep(1)
        kept, restarted_at = tuple(shell.journal.events(call.call_id)), shell.clock.now()
        whole = await play_to_the_end(shell, call)
    after = Shell(numbers=count(1000))
    after.clock.advance((restarted_at - after.clock.now()).total_seconds())
    async with running(after) as shell:
        again = shell.registry.restore(OpenCall(call_id=call.call_id, events=kept))
        assert again is not None
        rebuilt = await play_to_the_end(shell, again)
    assert whole.hints
    assert rebuilt == whole


async def test_lines_whose_vector_never_came_are_asked_again():
    async with running() as shell:
        call = await shell.attach()
        shell.embedder.answers_after_s = AN_HOUR_S
        await call.feed(shell.line(PRICE))
        kept = tuple(shell.journal.events(call.call_id))
    async with running() as shell:
        shell.embedder.knows[PRICE] = like("costs much")
        again = shell.registry.restore(OpenCall(call_id=call.call_id, events=kept))
        assert again is not None
        await asyncio.sleep(1)
        (segment,) = again.call.log.segments
        assert segment.text == PRICE
        assert segment.vector is not None


async def test_an_event_that_is_not_understood_does_not_keep_the_call_from_coming_back():
    async with running() as shell:
        call = await shell.attach()
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        kept = list(shell.journal.events(call.call_id))
        odd = ev.LegJoined(at=call.now(), leg=None, answered=True)  # type: ignore[arg-type]
    async with running() as shell:
        events = (*kept[:2], odd, *kept[2:])
        again = shell.registry.restore(OpenCall(call_id=call.call_id, events=events))
        assert again is not None
        assert [s.text for s in again.call.log.segments] == [PRICE]


async def test_answers_to_our_own_questions_are_no_sign_of_life():
    async with running() as shell:
        call = await shell.attach()
        touched_at = call.touched_at
        await asyncio.sleep(5)
        call.feed(ev.LineEmbedded(line_id="x", vector=None))
        call.feed(ev.LeadKnown(at=call.now(), lead=Lead()))
        assert call.touched_at == touched_at
        await call.feed(shell.line("hello"))
        assert call.touched_at > touched_at


async def test_logs_of_a_call_s_tasks_name_it():
    async with running() as shell:
        shell.embedder.fails_with = EmbeddingFailed("no")
        call = await shell.attach()
        with capture_logs(WITH_CONTEXT) as logs:
            await shell.tell("line", text="hello")
            await asyncio.sleep(1)
        (entry,) = [e for e in logs if e["event"] == "line_not_embedded"]
        assert entry["call_id"] == call.call_id
