"""What is made ready while a prospect is still finishing his line, and deadlines from arrival."""

import asyncio
from dataclasses import replace

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.hints import Evidence, Retrieved
from agent_sidecar.domain.tally import contexts, scope
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import EmbeddingFailed
from agent_sidecar.live.ahead import STABLE_S, words_of
from agent_sidecar.live.live_call import LiveCall
from tests.domain.playbooks import MONEY, STORY, like
from tests.flow.shell import PRICE, Shell, running

WRITTEN = "That is too expensive!"
EMBED_S, RETRIEVE_S = 0.03, 0.05


def slow_shell(**changes: object) -> Shell:
    shell = Shell(**changes)  # type: ignore[arg-type]  # fields by name
    shell.embedder.answers_after_s = EMBED_S
    shell.chroma.answers_after_s = shell.neo4j.answers_after_s = RETRIEVE_S
    # a recogniser punctuates its finals: the words are the same
    shell.embedder.knows = {PRICE: like("costs much"), WRITTEN: like("costs much")}
    won = Evidence(
        scope=scope(contexts(1, MONEY)[1], ""), strategy=STORY, tried=40, lifted=30, won=20
    )
    shell.neo4j.answer = Retrieved(evidence=(won,))
    return shell


def interim(call: LiveCall, shell: Shell, text: str = PRICE) -> None:
    call.feed(shell.line(text, is_final=False))


async def final(call: LiveCall, shell: Shell, text: str = WRITTEN) -> dict[str, object]:
    """Say the final; return its hint without what two calls never share."""
    call.feed(shell.line(text))
    await asyncio.sleep(1.0)
    [hint] = shell.publisher.of_type("hint")
    own = ("at", "hint_id", "call_id", "call_control_id", "latency_ms", "expires_at")
    assert shell.publisher.of_type("score")[-1]["text"] == text
    return {"latency_ms": hint["latency_ms"]} | {
        name: value for name, value in hint.items() if name not in own
    }


async def usual() -> dict[str, object]:
    """Return the hint as it is when nothing was heard before the final."""
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        await asyncio.sleep(STABLE_S)
        return await final(call, shell)


def results(hint: dict[str, object]) -> list[tuple[str, object]]:
    return sorted((name, value) for name, value in hint.items() if name != "latency_ms")


async def test_a_stable_interim_s_answers_are_there_when_the_final_has_its_words():
    expected = await usual()
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        interim(call, shell, "that is")
        interim(call, shell)
        await asyncio.sleep(STABLE_S + EMBED_S + RETRIEVE_S)
        hint = await final(call, shell)
        assert results(hint) == results(expected)
        assert expected["latency_ms"] == pytest.approx(1000 * (EMBED_S + RETRIEVE_S))
        assert hint["latency_ms"] == 0.0
        # asked once, by the interim's words
        assert shell.embedder.embedded == [PRICE]
        assert len(shell.chroma.questions) == len(shell.neo4j.questions) == 1
        assert shell.counted("ahead", "answer") == shell.counted("ahead", "vector") == 1


@pytest.mark.parametrize("waited_s", [0.01, EMBED_S + 0.02])
async def test_what_is_still_being_made_ready_is_waited_for_and_not_made_twice(waited_s: float):
    expected = await usual()
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        interim(call, shell)
        await asyncio.sleep(STABLE_S + waited_s)
        hint = await final(call, shell)
        assert results(hint) == results(expected)
        assert hint["latency_ms"] == pytest.approx(1000 * (EMBED_S + RETRIEVE_S - waited_s))
        assert (len(shell.embedder.embedded), len(shell.chroma.questions)) == (1, 1)


async def test_a_final_with_other_words_is_asked_as_usual():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        interim(call, shell, "that is too")
        await asyncio.sleep(1.0)
        hint = await final(call, shell)
        assert hint["latency_ms"] == pytest.approx(1000 * (EMBED_S + RETRIEVE_S))
        assert shell.embedder.embedded == ["that is too", WRITTEN]
        assert shell.counted("ahead", "answer") == 0
    assert results(hint) == results(await usual())


async def test_the_vector_serves_even_when_the_moment_has_changed_meanwhile():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        interim(call, shell)
        await asyncio.sleep(1.0)
        lead = replace(call.call.log.lead, experience_level="expert")
        call.feed(ev.LeadKnown(at=call.now(), lead=lead))
        hint = await final(call, shell)
        assert shell.embedder.embedded == [PRICE]
        first, second = shell.neo4j.questions
        assert first.lead_kind != second.lead_kind
        assert hint["latency_ms"] == pytest.approx(1000 * RETRIEVE_S)
        assert shell.counted("ahead", "other_moment") == 1


async def test_an_answer_that_lacked_a_store_is_asked_again():
    async with running(slow_shell()) as shell:
        shell.neo4j.answers_after_s = 3600.0
        call = await shell.attach()
        interim(call, shell)
        await asyncio.sleep(1.0)
        shell.neo4j.answers_after_s = RETRIEVE_S
        hint = await final(call, shell)
        assert hint["degraded"] == []
        assert len(shell.chroma.questions) == 2


async def test_only_what_stays_as_it_is_or_is_repeated_is_made_ready():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        for text in ("that is", "that is too", "that is too exp", PRICE):
            interim(call, shell, text)
            await asyncio.sleep(STABLE_S / 2)
        assert shell.embedder.embedded == []
        interim(call, shell)
        await asyncio.sleep(EMBED_S + 0.001)
        assert shell.embedder.embedded == [PRICE]
        # what is ready is not made again
        interim(call, shell)
        await asyncio.sleep(1.0)
        assert shell.embedder.embedded == [PRICE]


async def test_the_agent_s_interims_and_short_ones_are_nothing_to_make_ready():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        call.feed(shell.line(PRICE, "agent", is_final=False))
        interim(call, shell, "oh no")
        await asyncio.sleep(1.0)
        assert shell.embedder.embedded == []


async def test_one_guess_at_a_time_and_none_without_time_to_spare():
    async with running(slow_shell()) as shell:
        one, other = await shell.attach(), await shell.attach(LegId("v3:other"))
        interim(one, shell)
        interim(other, shell)
        await asyncio.sleep(STABLE_S + EMBED_S + 0.001)
        # the embedder was busy with the first
        assert shell.embedder.embedded == [PRICE]
        assert shell.counted("ahead", "no_time") == 1
        shell.chroma.answers_after_s = 0.3
        interim(one, shell, "and what does it cost")
        await asyncio.sleep(STABLE_S + EMBED_S + 0.001)
        interim(one, shell, "and what does it cost me")
        await asyncio.sleep(STABLE_S)
        assert len(shell.embedder.embedded) == 2
        shell.lag_ms = 50.0
        await asyncio.sleep(1.0)
        interim(other, shell, "I do not know")
        await asyncio.sleep(1.0)
        assert len(shell.embedder.embedded) == 2


@pytest.mark.parametrize("error", [EmbeddingFailed("no"), RuntimeError("bug")])
async def test_a_guess_that_fails_harms_nothing(error: Exception):
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        shell.embedder.fails_with = error
        interim(call, shell)
        await asyncio.sleep(1.0)
        shell.embedder.fails_with = None
        hint = await final(call, shell)
    assert results(hint) == results(await usual())


async def test_interims_are_neither_kept_nor_known_to_the_call():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        kept, before = len(shell.journal.events(call.call_id)), repr(call.call.log)
        interim(call, shell)
        await asyncio.sleep(1.0)
        assert shell.embedder.embedded == [PRICE]
        assert len(shell.journal.events(call.call_id)) == kept
        assert repr(call.call.log) == before
        assert shell.publisher.of_type("score") == shell.publisher.of_type("hint") == []


def test_case_punctuation_and_spaces_make_no_other_words():
    assert words_of("That's  too expensive!") == words_of("thats too expensive")
    assert words_of("Это дорого.") == words_of("это дорого") != words_of("это не дорого")


async def test_the_deadline_counts_from_when_the_words_arrived():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        shell.neo4j.answers_after_s = 3600.0
        arrived_s = asyncio.get_running_loop().time()
        # the loop took its time until somebody looked at them
        await asyncio.sleep(0.2)
        call.feed(shell.line(PRICE), arrived_s=arrived_s)
        await asyncio.sleep(1.0)
        [hint] = shell.publisher.of_type("hint")
        # 0.5 s, less what putting it on the wire takes
        assert hint["latency_ms"] == pytest.approx(480.0)
        assert hint["degraded"] == ["neo4j"]


async def test_words_that_arrived_too_long_ago_get_no_hint():
    async with running(slow_shell()) as shell:
        call = await shell.attach()
        arrived_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.6)
        call.feed(shell.line(PRICE), arrived_s=arrived_s)
        await asyncio.sleep(1.0)
        assert shell.publisher.of_type("hint") == []
        assert shell.publisher.of_type("score") != []
        assert shell.counted("hints", "late") == 1


async def test_a_webhook_s_words_arrived_when_it_did():
    async with running(slow_shell()) as shell:
        await shell.attach()
        event = shell.event("line", text=PRICE, track="inbound")
        arrived_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1)
        shell.pass_on(event, arrived_s=arrived_s)
        await asyncio.sleep(1.0)
        [hint] = shell.publisher.of_type("hint")
        assert hint["latency_ms"] == pytest.approx(1000 * (0.1 + EMBED_S + RETRIEVE_S))
