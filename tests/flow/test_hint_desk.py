import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent_sidecar.domain.hints import Candidate, Evidence, ProvenLine, Question, Retrieved
from agent_sidecar.domain.tally import contexts, scope
from agent_sidecar.domain.types import CallId, ObjectionType
from agent_sidecar.errors import EmbeddingFailed, SidecarError, StoreUnavailable
from agent_sidecar.live.requests import SuggestRequest
from agent_sidecar.live.source import AT_ONCE
from tests.domain.playbooks import BOOK, MONEY, REFRAME, STORY, like
from tests.flow.shell import PRICE, Shell, running

SCOPE = scope(contexts(9, MONEY)[0], "")
WON = Evidence(scope=SCOPE, strategy=STORY, tried=40, lifted=30, won=20)


def a_question(objection: ObjectionType | None = MONEY) -> Question:
    return Question(
        question_id="q1",
        call_id=CallId("c1"),
        text=PRICE,
        vector=None,
        phase=9,
        objection=objection,
        lead_kind=(),
    )


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    async with running() as shell:
        yield shell


async def ask(shell: Shell, within_s: float = 0.35) -> tuple[Retrieved, float]:
    """Ask once; return the answer and how long it took."""
    began = asyncio.get_running_loop().time()
    answer = await shell.desk.ask(a_question(), deadline=began + within_s)
    return answer, asyncio.get_running_loop().time() - began


async def test_both_are_asked_at_once(shell: Shell):
    shell.chroma.answers_after_s = shell.neo4j.answers_after_s = 0.2
    answer, took_s = await ask(shell)
    assert took_s == pytest.approx(0.2)
    assert answer.degraded == ()
    assert len(shell.chroma.questions) == len(shell.neo4j.questions) == 1


@pytest.mark.parametrize("dies_after_s", [0.0, 3.0])
async def test_a_slow_one_does_not_cost_the_deadline_however_slowly_it_dies(
    shell: Shell, dies_after_s: float
):
    shell.neo4j.answers_after_s, shell.neo4j.dies_after_s = 60.0, dies_after_s
    answer, took_s = await ask(shell)
    assert took_s == pytest.approx(0.35)
    assert answer.degraded == ("neo4j",)
    assert REFRAME in {c.strategy for c in answer.candidates}


@pytest.mark.parametrize(
    "error", [StoreUnavailable("gone"), SidecarError("odd"), ZeroDivisionError()]
)
async def test_one_that_fails_is_named_and_the_other_answers(shell: Shell, error: Exception):
    shell.chroma.fails_with = error
    answer, took_s = await ask(shell)
    assert (answer.degraded, took_s) == (("chroma",), 0.0)


async def test_one_that_cancels_itself_is_named_and_the_other_answers(shell: Shell):
    shell.chroma.fails_with = asyncio.CancelledError()  # type: ignore[assignment]
    answer, _ = await ask(shell)
    assert answer.degraded == ("chroma",)


async def test_whoever_asked_may_leave_and_nobody_is_asked_on(shell: Shell):
    shell.chroma.answers_after_s = shell.neo4j.answers_after_s = 3600.0
    asking = asyncio.create_task(ask(shell, within_s=7200.0))
    await asyncio.sleep(1)
    asking.cancel()
    await asyncio.wait({asking})
    await asyncio.sleep(0)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("hint:")}


async def test_the_warm_copy_answers_for_what_is_missing(shell: Shell):
    shell.neo4j.answer = Retrieved(evidence=(WON,))
    first, _ = await ask(shell)
    assert first.evidence == (WON,)
    shell.neo4j.fails_with = StoreUnavailable("down")
    second, _ = await ask(shell)
    assert (second.evidence, second.degraded) == ((WON,), ("neo4j",))


async def test_what_is_read_now_is_newer_than_the_warm_copy(shell: Shell):
    shell.neo4j.answer = Retrieved(evidence=(WON,))
    await ask(shell)
    newer = Evidence(scope=SCOPE, strategy=STORY, tried=41, lifted=31, won=21)
    shell.neo4j.answer = Retrieved(evidence=(newer,))
    shell.chroma.fails_with = StoreUnavailable("down")
    answer, _ = await ask(shell)
    assert answer.evidence == (newer,)


async def test_without_any_store_the_playbook_answers_in_time(shell: Shell):
    shell.chroma.answers_after_s = shell.neo4j.answers_after_s = 3600.0
    answer, took_s = await ask(shell)
    assert took_s == pytest.approx(0.35)
    assert answer.degraded == ("chroma", "neo4j")
    assert [c.strategy for c in answer.candidates] == [REFRAME]


async def test_what_a_store_lacked_itself_is_passed_on(shell: Shell):
    shell.chroma.answer = Retrieved(degraded=("chroma",))
    answer, _ = await ask(shell)
    assert answer.degraded == ("chroma",)


async def test_after_three_failures_a_store_is_skipped_and_then_tried_now_and_then(shell: Shell):
    shell.chroma.fails_with = StoreUnavailable("down")
    for _ in range(10):
        answer, _ = await ask(shell)
        assert answer.degraded == ("chroma",)
    assert len(shell.chroma.questions) == 3
    await asyncio.sleep(0.5)
    await ask(shell)
    await ask(shell)
    assert len(shell.chroma.questions) == 4
    await asyncio.sleep(0.5)
    shell.chroma.fails_with = None
    # finds out that it is back, for the next ones
    answer, _ = await ask(shell)
    assert answer.degraded == ("chroma",)
    await asyncio.sleep(0)
    for _ in range(3):
        answer, _ = await ask(shell)
        assert answer.degraded == ()
    assert len(shell.chroma.questions) == 8


async def test_a_try_of_a_store_that_still_hangs_costs_no_hint_its_time(shell: Shell):
    shell.neo4j.answers_after_s = 3600.0
    for _ in range(3):
        await ask(shell)
    for _ in range(5):
        await asyncio.sleep(0.5)
        _, took_s = await ask(shell)
        assert took_s == 0.0
    # one try at a time
    assert len(shell.neo4j.questions) == 5


async def test_a_try_has_time_to_connect_and_a_store_is_back_when_it_is_fast(shell: Shell):
    shell.neo4j.fails_with = StoreUnavailable("down")
    for _ in range(3):
        await ask(shell)
    # a new connection takes longer than any question waits, and is there from then on
    shell.neo4j.fails_with, shell.neo4j.answers_after_s = None, 0.4
    await asyncio.sleep(0.5)
    for _ in range(2):
        answer, took_s = await ask(shell)
        assert (answer.degraded, took_s) == (("neo4j",), 0.0)
        await asyncio.sleep(0.5)
    shell.neo4j.answers_after_s = 0.01
    await ask(shell)
    await asyncio.sleep(0.02)
    answer, _ = await ask(shell)
    assert answer.degraded == ()


async def test_a_store_that_has_become_slow_is_not_taken_for_back(shell: Shell):
    shell.neo4j.answers_after_s = 1.0
    took_s = []
    for _ in range(10):
        took_s.append((await ask(shell))[1])
        await asyncio.sleep(0.5)
    assert took_s[3:] == [0.0] * 7


async def test_questions_that_were_given_up_and_do_not_die_fill_no_queue(shell: Shell):
    shell.neo4j.answers_after_s, shell.neo4j.dies_after_s = 0.1, 3600.0
    asking = [asyncio.create_task(ask(shell, within_s=0.05)) for _ in range(2 * AT_ONCE)]
    took_s = [(await asked)[1] for asked in asking]
    # the rest was not asked at all, and waited for nobody
    assert len(shell.neo4j.questions) == AT_ONCE
    assert max(took_s) == pytest.approx(0.05)


async def test_the_newest_answers_that_worked_stand_in_for_the_vectors(shell: Shell):
    question = replace(a_question(), vector=like("costs much"))
    lines = [
        ProvenLine(strategy=STORY, say="a friend of mine", vector=like("costs much")),
        ProvenLine(strategy=STORY, say="my uncle", vector=like("costs much", 0.8)),
    ]
    shell.warm.remember_proven(lines)
    loop = asyncio.get_running_loop()
    answer = await shell.desk.ask(question, deadline=loop.time() + 0.35)
    assert not [c for c in answer.candidates if c.origin == "proven"]
    shell.chroma.fails_with = StoreUnavailable("down")
    answer = await shell.desk.ask(question, deadline=loop.time() + 0.35)
    [proven] = [c for c in answer.candidates if c.origin == "proven"]
    assert (proven.strategy, proven.say) == (STORY, "a friend of mine")
    assert proven.closeness == pytest.approx(1.0)
    assert answer.degraded == ("chroma",)


async def test_a_rehearsal_asks_like_a_call_unless_one_has_just_asked(shell: Shell):
    await shell.desk.rehearse("how much is it")
    assert len(shell.chroma.questions) == len(shell.neo4j.questions) == 1
    assert shell.embedder.embedded == ["how much is it"]
    await shell.desk.rehearse("how much is it", unless_asked_for_s=5.0)
    assert len(shell.chroma.questions) == 1
    await asyncio.sleep(5.0)
    await shell.desk.rehearse("how much is it", unless_asked_for_s=5.0)
    assert len(shell.chroma.questions) == 2


async def test_a_hung_store_costs_three_deadlines_and_no_more(shell: Shell):
    shell.neo4j.answers_after_s = 3600.0
    took_s = [round((await ask(shell))[1], 3) for _ in range(5)]
    assert took_s == [0.35, 0.35, 0.35, 0.0, 0.0]


async def test_a_store_is_not_blamed_when_there_was_no_time_left_for_it(shell: Shell):
    shell.chroma.answers_after_s = 0.05
    for within_s in (0.0, -1.0, 0.01, 0.02, 0.03):
        answer, took_s = await ask(shell, within_s=within_s)
        assert "chroma" in answer.degraded
        assert took_s == pytest.approx(max(0.0, within_s))
    answer, _ = await ask(shell)
    assert answer.degraded == ()


def a_request(**changes: object) -> SuggestRequest:
    said: dict[str, object] = {
        "text": PRICE,
        "phase": None,
        "objection": None,
        "lead": {},
        "top_k": 3,
    }
    return SuggestRequest(**(said | changes))  # type: ignore[arg-type]  # fields by name


async def test_an_agent_that_pulls_gets_the_best_with_their_reasons(shell: Shell):
    shell.embedder.answers_after_s, shell.chroma.answers_after_s = 0.02, 0.03
    suggestion = await shell.desk.suggest(a_request())
    best = suggestion.hints[0]
    assert (best["strategy"], best["objection"], best["phase"]) == (REFRAME, MONEY, 9)
    assert best["why"]
    assert suggestion.latency_ms == pytest.approx(50.0)
    assert suggestion.degraded == ()


async def test_what_the_agent_says_of_the_moment_stands(shell: Shell):
    shell.chroma.answer = Retrieved(
        candidates=(Candidate(strategy=BOOK, closeness=0.9, origin="playbook"),)
    )
    request = a_request(phase=3, objection=ObjectionType("trust"), top_k=1)
    (hint,) = (await shell.desk.suggest(request)).hints
    assert (hint["phase"], hint["objection"]) == (3, "trust")


@pytest.mark.parametrize("error", [EmbeddingFailed("no"), RuntimeError("bug"), None])
async def test_an_agent_is_answered_without_a_vector_too(shell: Shell, error: Exception | None):
    shell.embedder.fails_with = error
    shell.embedder.answers_after_s = 0.0 if error else 3600.0
    suggestion = await shell.desk.suggest(a_request())
    assert suggestion.hints[0]["strategy"] == REFRAME
    assert shell.chroma.questions[0].vector is None
    assert suggestion.latency_ms <= 350.0


async def test_the_vector_of_the_words_is_asked_with(shell: Shell):
    shell.embedder.knows[PRICE] = like("costs much")
    await shell.desk.suggest(a_request())
    vector = shell.chroma.questions[0].vector
    assert vector is not None
    assert vector @ like("costs much") == pytest.approx(1.0)
