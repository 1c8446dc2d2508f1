"""The vectors on a real Chroma server."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chromadb.api.models.AsyncCollection import AsyncCollection

from agent_sidecar.adapters.chroma_candidates import ChromaCandidates
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.chroma_reads import ChromaReads
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.playbook import Objection, Playbook, Strategy
from agent_sidecar.domain.record import Outcome
from agent_sidecar.domain.types import StrategyName, Vector
from agent_sidecar.domain.vector_rows import CALL_FAMILIES, OUTCOMES, playbook_texts
from agent_sidecar.embedded import StackUrls
from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable
from tests.builders import (
    DIMENSION,
    PRICE,
    REFRAME,
    rich_record,
    stranger_record,
    unit_vector,
)
from tests.contract.projections import MODEL, empty_chroma
from tests.contract.silent import silent_server

pytestmark = pytest.mark.contract

ASK_BACK = StrategyName("ask_back")
LOST = Outcome(final_status="disqualified", result="not_qualified", qualified=False)


@pytest.fixture
async def server(stack: StackUrls) -> AsyncIterator[ChromaServer]:
    """Give a server that holds nothing, and empties it."""
    assert stack.chroma
    await empty_chroma(stack.chroma)
    async with ChromaServer(stack.chroma, model=MODEL, dimension=DIMENSION) as server:
        yield server


@pytest.fixture
async def index(server: ChromaServer) -> ChromaIndex:
    index = ChromaIndex(server)
    await index.migrate()
    return index


def vector(seed: int) -> Vector:
    return np.frombuffer(unit_vector(seed), dtype="<f4").astype(np.float32)


def question(**changes: object) -> Question:
    asked = Question(
        question_id="q1",
        call_id=None,
        text="that is too expensive",
        vector=vector(0),
        phase=5,
        objection=PRICE,
    )
    return replace(asked, **changes)  # type: ignore[arg-type]  # fields by name


def a_playbook() -> Playbook:
    """Return what the index reads of a playbook."""
    return Playbook(
        name="test",
        phases=(),
        strategies=(
            Strategy(name=REFRAME, when="the price is too high", say=("What would it change?",)),
            Strategy(name=ASK_BACK, when="an objection is vague", say=("What makes you say so?",)),
        ),
        objections=(Objection(type=PRICE, wordings=("too expensive", "I cannot afford it")),),
        closers=(),
    )


def vectors_of(playbook: Playbook) -> Mapping[str, Vector]:
    texts = [t.text for of_family in playbook_texts(playbook).values() for t in of_family]
    return {text: vector(100 + n) for n, text in enumerate(texts)}


async def ids(server: ChromaServer, name: str) -> set[str]:
    got = await server.ask(name, lambda c: c.get(include=[]))
    assert got is not None
    return set(got["ids"])


async def test_the_collections_are_created_once(index: ChromaIndex, server: ChromaServer):
    assert await index.migrate() == []
    await index.ping()
    counts = await index.counts()
    assert counts == dict.fromkeys(
        [*CALL_FAMILIES, "strategy_embeddings", "objection_embeddings"], 0
    )
    assert len(OUTCOMES) == 7


async def test_nobody_makes_vectors_but_the_embedder(index: ChromaIndex, server: ChromaServer):
    with pytest.raises(RuntimeError, match="pass embeddings"):
        await server.ask("strategy_embeddings", lambda c: c.query(query_texts=["price"]))
    # a function that is named in a collection makes every other client warn that it has none
    configured = await server.ask("strategy_embeddings", configuration)
    assert configured is not None
    assert configured["embedding_function"] == {"type": "legacy"}
    assert configured["hnsw"]["space"] == "cosine"


async def configuration(there: AsyncCollection) -> dict[str, Any]:
    return there.configuration_json


async def test_a_record_is_stored_by_its_outcome_and_twice_is_as_once(
    index: ChromaIndex, server: ChromaServer
):
    await index.apply(rich_record())
    await index.apply(rich_record())

    lines = await server.ask(
        "conversation_embeddings.hot_transfer",
        lambda c: c.get(include=["metadatas", "documents"]),
    )
    assert lines is not None
    assert lines["ids"] == ["call-rich_segment_1"]
    assert lines["documents"] == ["What would a hundred a day change for you?"]
    assert lines["metadatas"] is not None
    told = lines["metadatas"][0]
    assert told["call_id"] == "call-rich"
    assert told["successful_transfer"] is True
    assert told["final_outcome"] == "hot_transfer"
    assert told["sentiment"] == "positive"
    assert told["strategy"] == REFRAME
    assert await ids(server, "conversation_patterns.hot_transfer") == {"pattern_call-rich"}
    assert await ids(server, "objection_responses.hot_transfer") == {"call-rich_response_1"}
    assert sum((await index.counts()).values()) == 3
    assert await index.differences([rich_record()]) == {}


async def test_many_records_at_once_are_all_there(index: ChromaIndex):
    records = [rich_record(f"call-{n}") for n in range(10)]

    async with asyncio.TaskGroup() as tasks:
        for record in [*records, *records]:
            tasks.create_task(index.apply(record))

    assert (await index.counts())["conversation_patterns"] == 10
    assert await index.differences(records) == {}


async def test_a_corrected_outcome_moves_the_vectors(index: ChromaIndex, server: ChromaServer):
    await index.apply(rich_record())
    await index.apply(rich_record("other"))
    corrected = rich_record(outcome=LOST, transfers=(), segments=rich_record().segments[:1])

    await index.apply(corrected)

    assert await index.differences([corrected, rich_record("other")]) == {}
    assert await ids(server, "conversation_patterns.disqualified") == {"pattern_call-rich"}
    assert await ids(server, "conversation_patterns.hot_transfer") == {"pattern_other"}
    assert await ids(server, "conversation_embeddings.hot_transfer") == {"other_segment_1"}
    # the line it answered with is gone from the record, so the answer is as well
    assert await ids(server, "objection_responses.disqualified") == set()


async def test_a_stranger_and_lines_without_vectors_are_no_reason_to_fail(index: ChromaIndex):
    unembedded = rich_record(
        "unembedded",
        segments=tuple(replace(s, vector=None) for s in rich_record().segments),
    )

    await index.apply(stranger_record())
    await index.apply(unembedded)

    assert sum((await index.counts()).values()) == 0
    assert await index.differences([stranger_record(), unembedded]) == {}


async def test_a_vector_of_another_size_is_rejected_by_its_id(index: ChromaIndex):
    first, second, *rest = rich_record().segments
    assert second.vector
    cut = replace(second, vector=second.vector[:64])

    with pytest.raises(RecordRejected, match="call-rich_segment_1 has 16 numbers"):
        await index.apply(rich_record(segments=(first, cut, *rest)))


async def test_differences_name_what_was_changed_and_what_is_missing(
    index: ChromaIndex, server: ChromaServer
):
    await index.apply(rich_record())
    await server.ask(
        "conversation_embeddings.hot_transfer",
        lambda c: c.update(
            ids=["call-rich_segment_1"],
            embeddings=vector(9)[np.newaxis],
            documents=["never said"],
            metadatas=[{"phase": 12}],
        ),
    )
    await server.ask(
        "conversation_patterns.hot_transfer", lambda c: c.delete(ids=["pattern_call-rich"])
    )
    await server.ask(
        "conversation_patterns.abandoned",
        lambda c: c.upsert(
            ids=["pattern_call-rich"],
            embeddings=vector(1)[np.newaxis],
            metadatas=[{"call_id": "call-rich"}],
        ),
    )

    found = await index.differences([rich_record(), rich_record("never")])

    text = "\n".join(found[rich_record().call_id])
    for part in (
        "call-rich_segment_1 has other words",
        "call-rich_segment_1 has another vector",
        "phase is 12 instead of 5",
        "conversation_patterns.hot_transfer: pattern_call-rich is missing",
        "conversation_patterns.abandoned: pattern_call-rich is too many",
    ):
        assert part in text
    assert len(found[rich_record("never").call_id]) == 3
    await index.apply(rich_record())
    assert await index.differences([rich_record()]) == {}


async def test_only_what_changed_of_the_playbook_is_written(
    index: ChromaIndex, server: ChromaServer
):
    playbook = a_playbook()
    await index.load(playbook, vectors_of(playbook))
    before = await ids(server, "strategy_embeddings")
    assert len(before) == 4
    assert len(await ids(server, "objection_embeddings")) == 2

    reworded = replace(playbook.strategies[1], say=("Too high compared to what?",))
    changed = replace(playbook, strategies=(playbook.strategies[0], reworded))
    # only what is new needs a vector
    await index.load(changed, {"Too high compared to what?": vector(7)})

    after = await ids(server, "strategy_embeddings")
    assert len(after) == 4
    assert len(after & before) == 3
    assert len(await ids(server, "objection_embeddings")) == 2


async def test_candidates_are_answers_that_worked(index: ChromaIndex, server: ChromaServer):
    await index.apply(rich_record())
    missed = replace(rich_record().credits[0], lifted=False)
    await index.apply(rich_record("missed", credits=(missed,)))
    await index.apply(rich_record("lost", outcome=LOST))
    await index.apply(rich_record("replayed", source="replay"))
    low = Outcome(final_status="follow_up", result="callback", qualified=False)
    await index.apply(rich_record("low", outcome=low))

    async with ChromaReads(server) as reads:
        retrieved = await ChromaCandidates(reads).retrieve(question())
        [line] = await ChromaCandidates(reads).proven(most=30)

    assert retrieved.degraded == ()
    [proven] = retrieved.candidates
    answer = (REFRAME, "What would a hundred a day change for you?")
    assert (proven.origin, proven.strategy, proven.say) == ("proven", *answer)
    assert proven.closeness == pytest.approx(1.0, abs=1e-5)
    # what the copy in memory is made of says the same
    assert (line.strategy, line.say) == answer
    assert line.vector @ vector(0) == pytest.approx(1.0, abs=1e-5)


async def test_only_the_newest_answers_are_read_for_the_copy(
    index: ChromaIndex, server: ChromaServer
):
    for number in range(4):
        await index.apply(rich_record(f"call-{number}"))
    async with ChromaReads(server) as reads:
        assert len(await ChromaCandidates(reads).proven(most=6)) == 2
        assert len(await ChromaCandidates(reads).proven(most=300)) == 4


async def test_what_cannot_be_compared_is_said(index: ChromaIndex, server: ChromaServer):
    async with ChromaReads(server) as reads:
        candidates = ChromaCandidates(reads)
        assert (await candidates.retrieve(question(vector=None))).degraded == ("embedding",)
        assert (await candidates.retrieve(question())).candidates == ()


async def test_a_call_in_which_only_the_agent_spoke_moves_with_its_outcome(
    index: ChromaIndex, server: ChromaServer
):
    alone = [segment for segment in rich_record().segments if segment.speaker == "agent"]
    record = rich_record(segments=tuple(alone), credits=())
    await index.apply(record)
    await index.apply(replace(record, outcome=LOST))
    assert await ids(server, "conversation_embeddings.hot_transfer") == set()
    assert await index.differences([replace(record, outcome=LOST)]) == {}


async def test_a_write_that_was_cut_off_and_then_corrected_leaves_nothing_behind(
    index: ChromaIndex, server: ChromaServer
):
    # the whole call is written first: whatever else there is, it is found by that
    record = rich_record()
    await index.apply(record)
    await server.ask("objection_responses.hot_transfer", lambda c: c.delete(ids=["x"]))
    await server.ask(
        "conversation_embeddings.hot_transfer", lambda c: c.delete(ids=["call-rich_segment_1"])
    )
    new = rich_record("call-new")
    await index.apply_all([replace(record, outcome=LOST), new])
    assert await ids(server, "objection_responses.hot_transfer") == {"call-new_response_1"}
    assert await index.differences([replace(record, outcome=LOST), new]) == {}


async def test_collections_made_anew_are_found_again(
    index: ChromaIndex, server: ChromaServer, stack: StackUrls
):
    async with ChromaReads(server) as reads:
        candidates = ChromaCandidates(reads)
        await index.apply(rich_record())
        assert len((await candidates.retrieve(question())).candidates) == 1
        assert stack.chroma
        await empty_chroma(stack.chroma)
        with pytest.raises(StoreUnavailable, match="agent-sidecar migrate"):
            await index.apply(rich_record())
        assert (await candidates.retrieve(question())).candidates == ()

        await index.migrate()
        await index.apply(rich_record())

        assert await index.differences([rich_record()]) == {}
        assert len((await candidates.retrieve(question())).candidates) == 1


async def test_a_question_that_was_given_up_holds_up_no_other(
    index: ChromaIndex, server: ChromaServer
):
    await index.apply(rich_record())
    async with ChromaReads(server) as reads:
        candidates = ChromaCandidates(reads)
        given_up = [asyncio.create_task(candidates.retrieve(question())) for _ in range(50)]
        await asyncio.sleep(0.005)
        for task in given_up:
            task.cancel()
        async with asyncio.timeout(1.0):
            assert len((await candidates.retrieve(question())).candidates) == 1
        await asyncio.wait(given_up)


async def test_vectors_of_another_model_are_never_mixed(
    index: ChromaIndex, server: ChromaServer, stack: StackUrls
):
    assert stack.chroma
    await index.apply(rich_record())
    other = ChromaServer(stack.chroma, model="another-model", dimension=DIMENSION)
    with pytest.raises(SettingsInvalid, match="agent-sidecar rebuild chroma"):
        await ChromaIndex(other).migrate()
    with pytest.raises(SettingsInvalid, match="another-model"):
        await ChromaIndex(other).apply(rich_record())
    async with ChromaReads(other) as reads:
        with pytest.raises(SettingsInvalid):
            await ChromaCandidates(reads).retrieve(question())


async def test_a_server_that_is_gone_is_said_at_once(unused_tcp_port: int):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with ChromaServer(url, model=MODEL, dimension=DIMENSION) as server:
        index = ChromaIndex(server)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="SIDECAR_CHROMA_URL"):
            await index.apply(rich_record())
        async with ChromaReads(server) as reads:
            with pytest.raises(StoreUnavailable):
                await ChromaCandidates(reads).retrieve(question())
        with pytest.raises(StoreUnavailable):
            await index.ping()
        assert time.monotonic() - began < 2.0


async def test_a_server_that_hangs_costs_no_more_than_the_limit():
    async with silent_server() as port:
        url = f"http://127.0.0.1:{port}"
        server = ChromaServer(url, model=MODEL, dimension=DIMENSION)
        async with ChromaReads(server, answer_s=0.2) as reads:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="did not answer"):
                await ChromaCandidates(reads).retrieve(question())
            assert time.monotonic() - began < 1.0


async def test_a_url_of_another_kind_is_refused_at_once():
    with pytest.raises(SettingsInvalid, match="SIDECAR_CHROMA_URL"):
        ChromaServer("127.0.0.1:8000", model=MODEL, dimension=DIMENSION)
