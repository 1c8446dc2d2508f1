"""One suite for both conversation stores: what it says holds on PostgreSQL and on MongoDB."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import bson
import pytest
import pytest_asyncio
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient

from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.stored_conversation import record_in
from agent_sidecar.domain.document import conversation_document
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, Lead
from agent_sidecar.errors import SettingsInvalid, StoreUnavailable
from tests.builders import at, rich_record, rich_segments, stranger_record
from tests.contract.conftest import through, way_to_postgres
from tests.contract.gate import Gate
from tests.contract.pgbouncer import NOT_INSTALLED
from tests.fakes import FakeConversations

pytestmark = pytest.mark.contract

Store = PostgresConversations | MongoConversations
Change = Callable[[dict[str, Any]], None]
_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
_PLUS_ONE = timezone(timedelta(hours=1))


Tamper = Callable[[str, Change], Awaitable[None]]
Parts = tuple[Callable[[], Store], Gate, Tamper]


@dataclass
class Place:
    """A store behind a gate, and a way to its documents past the store."""

    store: Store
    gate: Gate
    tamper: Tamper


@pytest.fixture(params=["postgres", "pooled", "mongodb"])
def parts(request: pytest.FixtureRequest) -> Parts:
    return {"postgres": _postgres, "pooled": _pooled, "mongodb": _mongodb}[request.param](request)


@pytest_asyncio.fixture
async def place(parts: Parts) -> AsyncIterator[Place]:
    store, gate, tamper = parts
    async with gate:
        made = store()
        try:
            await made.migrate()
            yield Place(made, gate, tamper)
        finally:
            await made.aclose()


@pytest.fixture
def store(place: Place) -> Store:
    return place.store


async def test_it_says_what_it_is(place: Place):
    assert place.store.store == "conversations"
    assert place.store.engine in {"PostgreSQL (embedded conversation store)", "MongoDB"}
    await place.store.ping()


async def test_a_second_migration_finds_nothing_to_do(store: Store):
    assert list(await store.migrate()) == []


async def test_a_rich_record_comes_back_as_its_document(store: Store):
    record = rich_record()
    await store.apply(record)
    found: Any = await store.get(record.call_id)
    assert found is not None
    for name, value in conversation_document(record).items():
        assert found[name] == value, name
    assert found["createdAt"].tzinfo is not None
    assert found["updatedAt"] >= found["createdAt"]
    assert await store.differences([record]) == {}


async def test_the_whole_record_can_be_had_back_with_its_vectors(store: Store):
    record = rich_record()
    await store.apply(record)
    found = await store.get(record.call_id)
    assert found is not None
    assert record_in(found) == record


async def records_of(store: Store, **asked: Any) -> list[CallRecord]:
    asked = {"since": None, "without": (), **asked}
    return [record async for some in store.records(**asked) for record in some]


async def test_all_records_are_walked_over_in_batches_each_once(store: Store):
    # two of them at the same time, and a batch ends between them
    kept = [rich_record(f"call-{n}", started_at=at(60 * (n // 2))) for n in range(5)]
    for record in reversed(kept):
        await store.apply(record)
    for batch in (1, 3, 100):
        found = await records_of(store, batch=batch)
        assert [record.started_at for record in found] == [record.started_at for record in kept]
        # at the same time, either may come first
        assert sorted(found, key=lambda record: record.call_id) == kept


async def test_a_walk_begins_at_a_time_and_leaves_out_what_is_known(store: Store):
    kept = [rich_record(f"call-{n}", started_at=at(60 * n)) for n in range(4)]
    for record in kept:
        await store.apply(record)
    found = await records_of(store, since=at(60), without=[kept[2].call_id])
    assert found == [kept[1], kept[3]]
    assert await records_of(store, since=at(3600)) == []


async def test_a_walk_leaves_out_what_cannot_be_read(place: Place):
    for call_id in ("broken", "whole"):
        await place.store.apply(rich_record(call_id))
    await place.tamper("broken", lambda document: document.pop("record"))
    assert await records_of(place.store) == [rich_record("whole")]


async def test_calls_are_found_by_their_ids(store: Store):
    await _find_by_ids(store)


async def test_the_fake_finds_calls_as_they_do():
    await _find_by_ids(FakeConversations())


async def _find_by_ids(source: Store | FakeConversations) -> None:
    kept = [rich_record(f"call-{n}", started_at=at(60 * n)) for n in range(4)]
    await source.apply_all(kept)
    asked = [kept[2].call_id, CallId("nobody"), kept[0].call_id]
    found = await source.find(asked)
    assert sorted(found, key=lambda record: record.call_id) == [kept[0], kept[2]]
    assert list(await source.find([CallId("nobody")])) == []
    assert list(await source.find([])) == []
    newest = await source.newest(limit=2, without=[kept[3].call_id])
    assert list(newest) == [kept[2], kept[1]]
    assert list(await source.newest(limit=9, without=[r.call_id for r in kept])) == []


async def test_a_call_that_cannot_be_read_is_not_found(place: Place):
    for call_id in ("broken", "whole"):
        await place.store.apply(rich_record(call_id))
    await place.tamper("broken", lambda document: document.pop("record"))
    found = await place.store.find([CallId("broken"), CallId("whole")])
    assert list(found) == [rich_record("whole")]


async def test_a_stranger_who_hung_up_at_once_is_kept(store: Store):
    record = stranger_record()
    await store.apply(record)
    found = await store.get(record.call_id)
    assert found is not None
    assert found["leadId"] is None
    assert await store.differences([record]) == {}


async def test_unknown_calls_are_none(store: Store):
    assert await store.get(rich_record("nobody").call_id) is None


async def test_twice_is_as_once(store: Store):
    await store.apply(rich_record())
    first = await store.get(rich_record().call_id)
    await store.apply(rich_record())
    second = await store.get(rich_record().call_id)
    assert await store.counts() == {"conversations": 1}
    assert _less_update(first) == _less_update(second)


async def test_twenty_at_once_make_one(store: Store):
    await asyncio.gather(*(store.apply(rich_record()) for _ in range(20)))
    assert await store.counts() == {"conversations": 1}
    assert await store.differences([rich_record()]) == {}


async def test_a_corrected_outcome_replaces_the_first(store: Store):
    record = rich_record()
    await store.apply(record)
    corrected = replace(
        record,
        transfers=(),
        outcome=replace(record.outcome, final_status="disqualified", qualified=False, posted=True),
    )
    await store.apply(corrected)
    assert await store.differences([corrected]) == {}
    wrong = (await store.differences([record]))[record.call_id]
    assert "outcome.finalStatus: found 'disqualified', expected 'hot_transfer'" in wrong
    assert "record: is that of another version of this call" in wrong
    found: Any = await store.get(record.call_id)
    assert found["outcome"]["hotTransfer"]["transferTime"] is None


async def test_a_missing_call_and_a_tampered_field_are_found(place: Place):
    tampered, missing, right = rich_record("a"), rich_record("b"), rich_record("c")
    await place.store.apply(tampered)
    await place.store.apply(right)

    def change(document: dict[str, Any]) -> None:
        document["engagement"]["overallScore"] = 3.5
        document["transcript"]["segments"][1]["text"] = "never said"

    await place.tamper("a", change)
    assert await place.store.differences([tampered, missing, right]) == {
        "a": (
            "transcript.segments.1.text: found 'never said',"
            " expected 'What would a hundred a day change for you?'",
            "engagement.overallScore: found 3.5, expected 82.25",
        ),
        "b": ("missing",),
    }


async def test_a_lost_record_is_found(place: Place):
    await place.store.apply(rich_record("a"))

    def change(document: dict[str, Any]) -> None:
        document["record"] = b"{}"

    await place.tamper("a", change)
    (wrong,) = (await place.store.differences([rich_record("a")]))[rich_record("a").call_id]
    assert wrong.startswith("record: Object missing required field")


async def test_words_of_any_kind_are_kept(store: Store):
    text = "naïve \x00 日本 🙂 $where {a: 1} '; DROP TABLE conversations;"
    segments = tuple(replace(segment, text=text) for segment in rich_segments())
    record = rich_record(segments=segments, lead=Lead(extra={"a.b": {"$c": [1, None]}}))
    await store.apply(record)
    assert await store.differences([record]) == {}


async def test_a_long_call_is_kept_whole(store: Store):
    line = rich_segments()[1]
    segments = tuple(
        replace(line, index=index, text=f"line {index} " + "word " * 40, at=at(index))
        for index in range(1500)
    )
    record = rich_record(segments=segments)
    await store.apply(record)
    assert await store.differences([record]) == {}


async def test_times_from_another_zone_are_the_same_moment(store: Store):
    record = rich_record()
    local = replace(record, started_at=record.started_at.astimezone(tz=_PLUS_ONE))
    await store.apply(local)
    assert await store.differences([record]) == {}


async def test_a_server_that_is_gone_is_unavailable_and_used_again_when_it_is_back(place: Place):
    await place.store.apply(rich_record("a"))
    await place.gate.shut()
    failures = await asyncio.gather(
        place.store.ping(),
        place.store.counts(),
        place.store.migrate(),
        place.store.apply(rich_record("b")),
        place.store.get(rich_record("a").call_id),
        place.store.differences([rich_record("a")]),
        return_exceptions=True,
    )
    for failure in failures:
        assert isinstance(failure, StoreUnavailable), repr(failure)
        assert "What to do: check that it runs" in str(failure)
    await place.gate.open()
    await place.store.apply(rich_record("b"))
    assert await place.store.counts() == {"conversations": 2}


async def test_a_server_that_is_gone_at_the_start_does_not_hinder_it():
    stores: tuple[Store, ...] = (
        PostgresConversations(PgPool("postgresql://me:secret@127.0.0.1:9/none")),
        MongoConversations("mongodb://me:secret@127.0.0.1:9/none", connect_s=0.2),
    )
    for store in stores:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9") as failure:
            await store.ping()
        assert "secret" not in str(failure.value)
        await store.aclose()


async def test_the_embedded_store_finds_words(postgres_url: str):
    async with PgPool(postgres_url) as pool:
        store = PostgresConversations(pool)
        await store.migrate()
        await store.apply(rich_record())
        connection = await asyncpg.connect(postgres_url)
        found = await connection.fetchval(
            "SELECT id FROM conversations WHERE search @@ plainto_tsquery('english', 'incomes')"
        )
        await connection.close()
    assert found == "call-rich"


async def test_two_migrations_at_once_do_not_hinder_each_other(mongodb_url: str, postgres_url: str):
    async with MongoConversations(mongodb_url) as one, MongoConversations(mongodb_url) as other:
        await asyncio.gather(one.migrate(), other.migrate())
    async with PgPool(postgres_url) as pool, PgPool(postgres_url) as another:
        applied = await asyncio.gather(
            PostgresConversations(pool).migrate(), PostgresConversations(another).migrate()
        )
    # each file once, whoever came first
    assert sorted(name for names in applied for name in names) == [
        "conversations/001_conversations.sql",
        "conversations/002_example_kinds.sql",
    ]


def test_a_url_that_is_none_is_a_wrong_setting():
    with pytest.raises(SettingsInvalid, match="SIDECAR_MONGODB_URL"):
        MongoConversations("mongodb://")
    with pytest.raises(SettingsInvalid, match="SIDECAR_POSTGRES_URL"):
        PgPool("mysql://somewhere/x")


# --- the two kinds of place -----------------------------------------------------------------------


def _pooled(request: pytest.FixtureRequest) -> Parts:
    pgbouncer: int | None = request.getfixturevalue("pgbouncer")
    if pgbouncer is None:
        pytest.skip(NOT_INSTALLED)
    return _postgres(request, pgbouncer)


def _postgres(request: pytest.FixtureRequest, pgbouncer: int | None = None) -> Parts:
    url: str = request.getfixturevalue("postgres_url")
    gate = Gate(way_to_postgres(request.getfixturevalue("stack"), pgbouncer))

    def store() -> Store:
        return PostgresConversations(PgPool(through(url, gate, pooled=pgbouncer is not None)))

    async def tamper(call_id: str, change: Change) -> None:
        connection = await asyncpg.connect(url)
        doc = await connection.fetchval("SELECT doc FROM conversations WHERE id = $1", call_id)
        document = bson.decode(doc, _AWARE)
        change(document)
        await connection.execute(
            "UPDATE conversations SET doc = $2 WHERE id = $1", call_id, bson.encode(document)
        )
        await connection.close()

    return store, gate, tamper


def _mongodb(request: pytest.FixtureRequest) -> Parts:
    url: str = request.getfixturevalue("mongodb_url")
    parts = urlsplit(url)
    gate = Gate((parts.hostname or "127.0.0.1", parts.port or 27017))

    def store() -> Store:
        login = "".join(parts.netloc.rpartition("@")[:2])
        gated = parts._replace(
            netloc=f"{login}127.0.0.1:{gate.port}",
            query=f"{parts.query}&directConnection=true".lstrip("&"),
        )
        return MongoConversations(gated.geturl(), connect_s=1.5)

    async def tamper(call_id: str, change: Change) -> None:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, tz_aware=True)
        async with client:
            collection = client.get_default_database()["conversations"]
            document = await collection.find_one({"_id": call_id})
            assert document is not None
            change(document)
            await collection.replace_one({"_id": call_id}, document)

    return store, gate, tamper


def _less_update(document: Mapping[str, object] | None) -> Mapping[str, object]:
    assert document is not None
    return {name: value for name, value in document.items() if name != "updatedAt"}
