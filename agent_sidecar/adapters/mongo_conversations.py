"""Conversations in MongoDB: one document a call; transcripts and outcomes are views of it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import AsyncMongoClient, IndexModel, UpdateOne, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from agent_sidecar.adapters.stored_conversation import (
    as_example,
    readable_records,
    stored_differences,
    stored_document,
)
from agent_sidecar.domain.examples import example_call
from agent_sidecar.domain.insights import ExampleCall
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable
from agent_sidecar.telemetry import ResponseTimes

_Document = dict[str, Any]

_COLLECTION = "conversations"
# where the URL names no database
_DATABASE = "agent_sidecar"
# on how many servers, and on their disks
_DURABLE = WriteConcern(w="majority", j=True)
_AWARE: CodecOptions[_Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
# two first writes of one call may both try to insert it
_UPSERTS = 3
# documents removed in one request
_STEP = 500

# what an example shows of a call
_EXAMPLE = {
    "transcript.segments.speaker": 1,
    "transcript.segments.text": 1,
    "transcript.segments.timestamp": 1,
    "analysis.keyMoments": 1,
    "outcome.finalStatus": 1,
    "engagement.overallScore": 1,
    "metadata.startTime": 1,
}
# documents of older versions that are brought up to date with one request
_TOLD_AT_ONCE = 200
_NAMESPACE_EXISTS = 48
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_VALIDATION_FAILED = 121


class MongoConversations:
    """The projection `conversations` in MongoDB; connects when first used.

    `setting` is what errors tell a person to look at; times are wall seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        setting: str = "SIDECAR_MONGODB_URL",
        connect_s: float = 5.0,
        command_s: float = 10.0,
        times: ResponseTimes | None = None,
    ) -> None:
        self._setting = setting
        self._times = times or ResponseTimes()
        try:
            self._client: AsyncMongoClient[_Document] = AsyncMongoClient(
                url,
                connect=False,
                appname="agent-sidecar",
                serverSelectionTimeoutMS=int(connect_s * 1000),
                connectTimeoutMS=int(connect_s * 1000),
                # not `timeoutMS`, which would also be the time to find out that nobody is there
                socketTimeoutMS=int(command_s * 1000),
            )
            database = self._client.get_default_database(_DATABASE)
        except (InvalidURI, ConfigurationError, ValueError) as exc:
            raise SettingsInvalid(f"{setting}: the URL cannot be used ({exc})") from None
        # without user and password
        self._place = urlsplit(url).netloc.rpartition("@")[2]
        self._database: AsyncDatabase[_Document] = database
        self._conversations = database.get_collection(
            _COLLECTION, codec_options=_AWARE, write_concern=_DURABLE
        )

    @property
    def store(self) -> StoreName:
        return "conversations"

    @property
    def engine(self) -> str:
        return "MongoDB"

    async def migrate(self) -> Sequence[str]:
        """Bring validator, indexes and views to the newest version."""
        folder = files("agent_sidecar").joinpath("adapters", "schema", "mongo")
        wanted = [
            msgspec.json.decode(folder.joinpath(f"{name}.json").read_bytes(), type=_Document)
            for name in (_COLLECTION, "transcripts", "outcomes")
        ]
        async with self._translated():
            there = {
                entry["name"]: entry async for entry in await self._database.list_collections()
            }
            applied: list[str] = []
            for entry in wanted:
                if "view" in entry:
                    applied += await self._put_view(entry, there.get(entry["view"]))
                else:
                    applied += await self._put_collection(entry, there.get(entry["collection"]))
                    applied += await self._put_indexes(entry["indexes"])
            while await self._tell_kinds():
                pass
            return applied

    async def apply(self, record: CallRecord) -> None:
        """Store the whole conversation in place of an earlier version; what others added stays."""
        key, change = _upsert(record)
        async with self._translated():
            for upsert in range(_UPSERTS):
                try:
                    await self._conversations.update_one(key, change, upsert=True)
                except DuplicateKeyError:
                    if upsert == _UPSERTS - 1:
                        raise
                else:
                    return

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Do so for several in one request; where the server refuses any, one after the other."""
        changes = []
        for record in records:
            changes.append(UpdateOne(*_upsert(record), upsert=True))
            # each takes a millisecond or two, and live calls come first
            await asyncio.sleep(0)
        async with self._translated():
            try:
                await self._conversations.bulk_write(changes)
            except BulkWriteError:
                refused = True
            else:
                refused = False
        for record in records if refused else ():
            await self.apply(record)

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        """Compare each stored document, and the record in it, with what the record makes."""
        ids = [record.call_id for record in records]
        async with self._translated():
            cursor = self._conversations.find({"_id": {"$in": ids}})
            found = {document["_id"]: document async for document in cursor}
        wrong = {
            record.call_id: stored_differences(found.get(record.call_id), record)
            for record in records
        }
        return {call_id: texts for call_id, texts in wrong.items() if texts}

    async def forget(self, call_ids: Collection[CallId]) -> None:
        """Remove the documents of these calls."""
        async with self._translated():
            await self._conversations.delete_many({"_id": {"$in": list(call_ids)}})

    async def clear(self) -> None:
        """Remove all documents."""
        async for ids in self.call_ids(batch=_STEP):
            await self.forget(ids)

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the ids of all documents."""
        after: _Document = {}
        while ids := await self._ids(after, batch):
            after = {"_id": {"$gt": ids[-1]}}
            yield ids

    async def _ids(self, wanted: _Document, limit: int) -> Sequence[CallId]:
        async with self._translated():
            cursor = self._conversations.find(wanted, {"_id": 1}, sort=[("_id", 1)], limit=limit)
            return [document["_id"] async for document in cursor]

    async def get(self, call_id: CallId) -> Mapping[str, object] | None:
        """Return the document of a call."""
        async with self._translated():
            return await self._conversations.find_one({"_id": call_id})

    async def records(
        self, *, since: datetime | None, without: Collection[CallId], batch: int = 100
    ) -> AsyncIterator[Sequence[CallRecord]]:
        """Walk over the records of calls started since then but those, oldest first."""
        wanted: _Document = {"_id": {"$nin": list(without)}}
        if since is not None:
            wanted["metadata.startTime"] = {"$gte": since}
        async with self._translated(is_walk=True):
            # as an index has it: whole calls are too much to be sorted by the server
            order = [("metadata.startTime", 1)]
            cursor = self._conversations.find(wanted, sort=order, batch_size=batch)
            while found := await cursor.to_list(batch):
                yield list(readable_records(found))

    async def find(self, call_ids: Collection[CallId]) -> Sequence[CallRecord]:
        """Return the records of these calls, as far as they are stored and can be read."""
        async with self._translated():
            cursor = self._conversations.find({"_id": {"$in": list(call_ids)}})
            return list(readable_records(await cursor.to_list()))

    async def examples(self, kinds: Sequence[str], *, most: int) -> Sequence[ExampleCall]:
        """Return the best calls of such leads, those of the narrowest kind first."""
        found: dict[str, ExampleCall] = {}
        async with self._translated():
            for kind in reversed(kinds):
                cursor = self._conversations.find(
                    {"exampleKinds": kind, "outcome.qualified": True},
                    _EXAMPLE,
                    sort=[("engagement.overallScore", -1)],
                    limit=most,
                )
                async for document in cursor:
                    found.setdefault(document["_id"], example_call(document, kind))
                if len(found) >= most:
                    break
        return list(found.values())[:most]

    async def newest(self, *, limit: int, without: Collection[CallId]) -> Sequence[CallRecord]:
        """Return the records of the calls that began last, newest first."""
        async with self._translated():
            wanted = {"_id": {"$nin": list(without)}}
            order = [("metadata.startTime", -1)]
            cursor = self._conversations.find(wanted, sort=order, limit=limit)
            return list(readable_records(await cursor.to_list()))

    async def counts(self) -> Mapping[str, int]:
        """Count the conversations."""
        async with self._translated():
            return {"conversations": await self._conversations.count_documents({})}

    async def ping(self) -> None:
        """Ask the server something. Raises `StoreUnavailable`."""
        async with self._translated():
            await self._database.command("ping")

    async def aclose(self) -> None:
        """End all connections, for good."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _tell_kinds(self) -> int:
        """Tell of some documents of older versions for whom they are examples; return how many."""
        untold = {"exampleKinds": {"$exists": False}}
        found = await self._conversations.find(untold, {"record": 1}, limit=_TOLD_AT_ONCE).to_list()
        told: dict[str, _Document] = {document["_id"]: {"exampleKinds": []} for document in found}
        told |= {record.call_id: as_example(record) for record in readable_records(found)}
        changes = [UpdateOne({"_id": call_id}, {"$set": said}) for call_id, said in told.items()]
        if changes:
            await self._conversations.bulk_write(changes)
        return len(changes)

    async def _put_collection(
        self, wanted: _Document, there: Mapping[str, Any] | None
    ) -> list[str]:
        name, validator = wanted["collection"], wanted["validator"]
        if there is None:
            await self._create(name, validator=validator)
        elif there.get("options", {}).get("validator") != validator:
            await self._database.command("collMod", name, validator=validator)
        else:
            return []
        return [f"collection {name}"]

    async def _put_indexes(self, wanted: Sequence[_Document]) -> list[str]:
        there = await self._conversations.index_information()
        new = [index for index in wanted if index["name"] not in there]
        models = [
            IndexModel(
                [(field, order) for field, order in index["keys"]],
                name=index["name"],
                unique=index.get("unique", False),
            )
            for index in new
        ]
        if models:
            await self._conversations.create_indexes(models)
        return [f"index {index['name']}" for index in new]

    async def _put_view(self, wanted: _Document, there: Mapping[str, Any] | None) -> list[str]:
        name = wanted["view"]
        options = {"viewOn": wanted["viewOn"], "pipeline": wanted["pipeline"]}
        if there is None:
            await self._create(name, **options)
        elif there.get("type") != "view":
            raise SettingsInvalid(
                f"{self._setting}: the database {self._database.name} has a collection {name}"
                " where a view of that name belongs: name another database in the URL"
            )
        elif {key: there.get("options", {}).get(key) for key in options} != options:
            # a view holds nothing; not every server that speaks as MongoDB changes one in place
            await self._database.drop_collection(name)
            await self._create(name, **options)
        else:
            return []
        return [f"view {name}"]

    async def _create(self, name: str, **options: Any) -> None:
        try:
            await self._database.command("create", name, **options)
        except OperationFailure as exc:
            # another process migrates too
            if exc.code != _NAMESPACE_EXISTS:
                raise

    @asynccontextmanager
    async def _translated(self, *, is_walk: bool = False) -> AsyncIterator[None]:
        """Translate the driver's errors; a walk goes at its reader's pace, so it is not timed."""
        try:
            with nullcontext() if is_walk else self._times.measured():
                yield
        except (BSONError, DocumentTooLarge, DuplicateKeyError, UnicodeError, OverflowError) as exc:
            # what follows the colon are values
            reason = f"{type(exc).__name__}: {str(exc).partition(':')[0]}"
            raise RecordRejected(f"MongoDB cannot store this: {reason}") from exc
        except OperationFailure as exc:
            if exc.code == _VALIDATION_FAILED:
                raise RecordRejected(
                    "MongoDB refuses this document: it fails the collection's validator at"
                    f" {_failed_places(exc) or 'an unnamed place'}"
                ) from exc
            raise StoreUnavailable(self._unavailable(exc)) from exc
        except PyMongoError as exc:
            raise StoreUnavailable(self._unavailable(exc)) from exc

    def _unavailable(self, exc: PyMongoError) -> str:
        advice = f"check that it runs and that {self._setting} leads to it"
        code = exc.code if isinstance(exc, OperationFailure) else None
        if code in {_UNAUTHORIZED, _AUTHENTICATION_FAILED}:
            advice = f"check user, password and rights in {self._setting}"
        # the rest repeats the whole topology
        reason = str(exc).partition(" (configured timeouts:")[0].partition(", Timeout:")[0]
        return f"MongoDB at {self._place}: {reason}. What to do: {advice}"


def _upsert(record: CallRecord) -> tuple[_Document, _Document]:
    """Return what names the record's document, and what changes in it."""
    document = stored_document(record)
    key = {"_id": document.pop("_id")}
    now = datetime.now(UTC)
    return key, {"$set": {**document, "updatedAt": now}, "$setOnInsert": {"createdAt": now}}


def _failed_places(exc: OperationFailure) -> str:
    """Name the fields that a validator refused, without their values."""
    places: list[str] = []

    def walk(rule: object) -> None:
        if isinstance(rule, Mapping):
            if name := rule.get("propertyName"):
                places.append(str(name))
            places.extend(str(name) for name in rule.get("missingProperties", ()))
            for part in rule.values():
                walk(part)
        elif isinstance(rule, list):
            for part in rule:
                walk(part)

    walk((exc.details or {}).get("errInfo"))
    return ".".join(places)
