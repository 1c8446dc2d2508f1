"""Retention and erasure on a real journal and real files, with stores that fail as they like."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from agent_sidecar.adapters.archive_files import ArchiveFiles
from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.recording_folder import RecordingFolder
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.commands.backup import shown_settings
from agent_sidecar.domain.erasure import Person, person
from agent_sidecar.domain.events import CallOpened, LegJoined
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.retention import read_rules
from agent_sidecar.domain.types import STORES, CallId, Lead, Leg, LegId, StoreName
from agent_sidecar.errors import ArchiveFailed, SettingsInvalid, StoreUnavailable
from agent_sidecar.learning.ingest import ingest_all
from agent_sidecar.ports import ReceivedWebhook
from agent_sidecar.settings import read_settings
from agent_sidecar.wrapup.erasure import BackupFinding, Eraser, ErasureParts, ErasureReport
from agent_sidecar.wrapup.forgetting import Forgetter
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.retention import Retention, RetentionParts, RetentionReport
from agent_sidecar.wrapup.verify import Audited, verify
from tests.builders import at, rich_record, stranger_record
from tests.fakes import FakeClock, FakeConversations, FakeCounts, FakeProjection
from tests.flow.test_ingest import parts as ingest_parts

# threads: the journal's, and those that write files
pytestmark = pytest.mark.real_time

PHONE = "+12025550143"
HIM = Lead(lead_id="7d0b6a5e-0000-4000-8000-000000000001", phone=PHONE, first_name="Wilhelmina")
DOWN = StoreUnavailable("it is down: start it")


@dataclass
class FakeLeadRows:
    """Leads beside a store that has their calls."""

    crm: FakeProjection
    rows: dict[str, Lead] = field(default_factory=dict)
    fails: Exception | None = None

    async def named(self, person: Person) -> Sequence[Lead]:
        self._strike()
        return [lead for lead in self.rows.values() if person.is_named(lead)]

    async def calls_of(self, lead_ids: Collection[str]) -> Sequence[CallId]:
        self._strike()
        held = self.crm.held.values()
        return [record.call_id for record in held if record.lead.lead_id in lead_ids]

    async def forget(self, lead_ids: Collection[str]) -> int:
        self._strike()
        return len([self.rows.pop(i) for i in list(lead_ids) if i in self.rows])

    def _strike(self) -> None:
        if self.fails:
            raise self.fails


class SlowProjection(FakeProjection):
    """Answers when it is let."""

    def __init__(self, store: StoreName) -> None:
        super().__init__(store)
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        self.is_asked.set()
        await self.may_answer.wait()
        await super().apply_all(records)


class House:
    """A journal, four stores, a relay that delivers, and what forgets."""

    def __init__(self, journal: SqliteJournal, folder: Path, clock: FakeClock) -> None:
        self.journal, self.folder, self.clock = journal, folder, clock
        self.book = journal.forgetting
        self.conversations = FakeConversations()
        others = [FakeProjection(store) for store in STORES if store != "conversations"]
        self.stores = [self.conversations, *others]
        self.relay = Relay(journal, self.stores, clock)
        self.leads = FakeLeadRows(others[0])
        self.archives = ArchiveFiles(folder / "archives")
        self.recordings = RecordingFolder(folder / "recordings")
        self.forgetter = Forgetter(self.book, self.stores, self.relay.paused)
        # days whose figures stand
        self.closed: set[date] = set()
        self.proofs: list[ErasureReport] = []
        self.is_proven = asyncio.Event()
        self.backups: list[BackupFinding] = []
        self.eraser = Eraser(
            ErasureParts(
                journal=journal,
                book=self.book,
                projections=self.stores,
                conversations=self.conversations,
                leads=self.leads,
                archives=self.archives,
                recordings=self.recordings,
                forgetter=self.forgetter,
                clock=clock,
                backups=self._backups,
                keep_proof=self._keep,
            )
        )

    def retention(self, rules: str) -> Retention:
        return Retention(
            RetentionParts(
                rules=read_rules(rules),
                conversations=self.conversations,
                journal=self.journal,
                book=self.book,
                archives=self.archives,
                recordings=self.recordings,
                forgetter=self.forgetter,
                clock=self.clock,
                close_days=self.close_days,
            )
        )

    async def close_days(self, times: Collection[datetime]) -> None:
        # all of them are still there
        assert all(self.conversations.held.values())
        self.closed |= {at.date() for at in times}

    async def deliver(self, *records: CallRecord) -> None:
        for record in records:
            await self.journal.commit(record)
            if record.lead.lead_id:
                self.leads.rows[record.lead.lead_id] = record.lead
        running = asyncio.create_task(self.relay.run())
        await self.relay.drain(asyncio.get_running_loop().time() + 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def held(self) -> set[CallId]:
        return {call_id for store in self.stores for call_id in store.held}

    def bytes_of_journal(self) -> bytes:
        return b"".join(place.read_bytes() for place in self.folder.glob("journal*"))

    async def _backups(self, person: Person) -> Sequence[BackupFinding]:
        return self.backups

    async def _keep(self, report: ErasureReport) -> str:
        self.proofs.append(report)
        self.is_proven.set()
        return "erasures/proof.json"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    journal = await SqliteJournal.open(tmp_path / "journal.sqlite3", clock=clock)
    yield House(journal, tmp_path, clock)
    await journal.aclose()


def old(call_id: str, days: float = 400, **changes: object) -> CallRecord:
    """Return a rich call that ended so many days ago."""
    record = rich_record(call_id, **changes)
    moved = FakeClock().now() - timedelta(days=days) - record.started_at
    return replace(record, started_at=record.started_at + moved, ended_at=record.ended_at + moved)


# --- retention ------------------------------------------------------------------------------------


async def test_calls_that_are_over_go_from_everywhere_into_an_archive(house: House):
    (house.folder / "recordings").mkdir()
    (house.folder / "recordings" / "over_0123456789ab.wav").write_bytes(b"RIFF")
    over, young = old("over"), old("young", days=3)
    await house.deliver(over, young)
    report = await house.retention("*=365").apply()
    assert (sum(report.archived.values()), report.waiting, report.trouble) == (1, 0, {})
    assert house.held() == {young.call_id}
    assert await house.journal.record(over.call_id) is None
    assert not list((house.folder / "recordings").iterdir())
    [archive] = (house.folder / "archives").iterdir()
    assert archive.name == f"{over.started_at:%Y-%m}.jsonl.gz"
    [recorded] = read_recorded_calls(archive)
    assert recorded.call_id == over.call_id
    assert house.closed == {over.started_at.date()}


async def test_an_archive_brings_the_same_evidence_back(house: House):
    made = ingest_parts(journal=house.journal)
    model = made.embedder.name
    over = old("over")
    vector = bytes(4 * made.embedder.dimension)
    segments = tuple(replace(s, vector=vector) for s in over.segments)
    configuration = replace(over.configuration, model=model)
    await house.deliver(replace(over, segments=segments, configuration=configuration))
    await house.retention("*=365").apply()
    [archive] = (house.folder / "archives").iterdir()
    calls = list(read_recorded_calls(archive))
    assert await ingest_all(calls, made) == 1
    committed = await house.journal.record(over.call_id)
    assert committed is not None
    back = committed.record
    said = [s for s in over.segments if s.speaker != "closer" and s.text]
    assert [s.text for s in back.segments] == [s.text for s in said]
    assert [s.strategy for s in back.segments if s.strategy] == [
        s.strategy for s in said if s.strategy
    ]
    assert {s.vector for s in back.segments} == {vector}
    assert back.outcome.final_status == over.outcome.final_status
    assert back.lead.phone == over.lead.phone
    assert back.started_at == over.started_at
    # it is one call like others again
    await house.deliver()
    assert over.call_id in house.held()


async def test_a_dry_run_changes_nothing_and_no_rules_keep_all(house: House):
    await house.deliver(old("over"))
    report = await house.retention("*=365").apply(dry_run=True)
    assert sum(report.archived.values()) == 1
    assert house.held() == {"over"}
    assert not (house.folder / "archives").exists()
    nothing = replace(house.retention("*=365").parts, rules=None)
    assert await Retention(nothing).apply() == RetentionReport()
    # and there is nothing to do every day
    await Retention(nothing).run()
    assert house.held() == {"over"}


async def test_what_a_store_has_not_got_yet_is_left_alone(house: House):
    house.stores[2].fails_with = DOWN
    await house.deliver(old("over"))
    report = await house.retention("*=365").apply()
    assert (report.archived, report.waiting) == ({}, 1)
    assert await house.journal.record(CallId("over")) is not None


async def test_a_store_that_is_down_forgets_when_it_is_back(house: House):
    await house.deliver(old("over"))
    house.stores[3].fails_with = DOWN
    report = await house.retention("*=365").apply()
    assert set(report.trouble) == {house.stores[3].store}
    assert set(house.stores[3].held) == {"over"}
    assert await house.book.left() == {house.stores[3].store: 1}
    # nobody takes it for a call that is too many there, or brings it back
    house.stores[3].fails_with = None
    audited = Audited(
        journal=house.journal,
        projections=house.stores,
        conversations=house.conversations,
        counts=FakeCounts(),
    )
    assert (await verify(audited)).clean
    await house.journal.redeliver([old("over")], STORES)
    assert not await house.journal.knows(CallId("over"))
    house.stores[3].fails_with = None
    assert await house.forgetter.work() == {}
    assert house.held() == set()
    assert await house.book.left() == {}


async def test_a_call_that_was_archived_before_a_crash_is_in_the_archive_once(house: House):
    over = old("over")
    await house.deliver(over, old("other", days=400.01))
    # the crash came before the call was marked
    await house.archives.add([over])
    await house.retention("*=365").apply()
    [archive] = (house.folder / "archives").iterdir()
    assert sorted(call.call_id for call in read_recorded_calls(archive)) == ["other", "over"]
    assert house.held() == set()


async def test_an_archive_that_cannot_be_written_removes_nothing(house: House):
    await house.deliver(old("over"))
    (house.folder / "archives").write_text("no folder")
    with pytest.raises(ArchiveFailed, match="archives"):
        await house.retention("*=365").apply()
    assert house.held() == {"over"}


async def test_silent_calls_and_replays_are_archived_and_not_learnt_from(house: House):
    silent = stranger_record("silent", segments=())
    await house.archives.add([silent, rich_record("replay", source="replay"), rich_record("live")])
    files = sorted((house.folder / "archives").iterdir())
    lines = b"".join(gzip.decompress(place.read_bytes()) for place in files).splitlines()
    assert len(lines) == 3
    assert [c.call_id for place in files for c in read_recorded_calls(place)] == ["live"]


async def test_files_are_added_to_without_being_packed_again_and_emptied_by_erasure(house: House):
    await house.archives.add([rich_record("a")])
    await house.archives.add([rich_record("b"), rich_record("c", lead=HIM)])
    assert await house.archives.find(person(phone=PHONE)) == ["c"]
    assert await house.archives.remove(["c", "unknown"]) == 1  # type: ignore[list-item]
    [archive] = (house.folder / "archives").iterdir()
    assert [call.call_id for call in read_recorded_calls(archive)] == ["a", "b"]
    assert await house.archives.remove(["a", "b"]) == 2  # type: ignore[list-item]
    assert not list((house.folder / "archives").iterdir())


async def test_a_damaged_archive_is_named(house: House):
    (house.folder / "archives").mkdir()
    (house.folder / "archives" / "2026-01.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(ArchiveFailed, match="move away what is damaged"):
        await house.archives.find(person(phone=PHONE))
    with gzip.open(house.folder / "archives" / "2026-01.jsonl.gz", "wb") as file:
        file.write(b"{}\n")
    with pytest.raises(ArchiveFailed, match="2026-01"):
        await house.archives.find(person(phone=PHONE))


def test_the_setting_is_read_and_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIDECAR_RETENTION", "disqualified=30,*=365")
    rules = read_settings().retention
    assert rules is not None
    assert dict(rules.days) == {"disqualified": 30, "*": 365}
    # and kept in a backup as it can be read again
    monkeypatch.setenv("SIDECAR_REDACT", "ssn,cards")
    shown = shown_settings(read_settings())
    assert shown["SIDECAR_RETENTION"] == "disqualified=30,*=365"
    assert shown["SIDECAR_REDACT"] == "cards,ssn"
    monkeypatch.setenv("SIDECAR_RETENTION", "all=3")
    with pytest.raises(SettingsInvalid, match="SIDECAR_RETENTION: 'all=3': write OUTCOME=DAYS"):
        read_settings()


# --- erasure --------------------------------------------------------------------------------------


def his(call_id: str, **changes: object) -> CallRecord:
    return rich_record(call_id, lead=HIM, **changes)


def webhook(event_id: str, body: str) -> ReceivedWebhook:
    return ReceivedWebhook(
        event_id=event_id,
        event_type="call.answered",
        leg_id=LegId("leg"),
        received_at=at(0),
        body=body.encode(),
    )


async def test_he_is_gone_from_every_place_and_the_proof_says_so(house: House):
    (house.folder / "recordings").mkdir()
    (house.folder / "recordings" / "his_0123456789ab.wav").write_bytes(b"RIFF")
    house.backups = [BackupFinding(path="/b", at="", holds_him=True, what_to_do="delete it")]
    await house.archives.add([his("archived"), rich_record("of-another")])
    await house.journal.receive(webhook("e1", f'{{"from":"{PHONE}"}}'))
    await house.journal.receive(webhook("e2", '{"from":"+12025550199"}'))
    await house.deliver(his("his"), rich_record("another"))
    report = await house.eraser.erase(person(phone=PHONE))
    assert report.done_at is not None
    assert report.waiting == {}
    assert set(report.left.values()) == {0}
    assert {*STORES, "journal", "webhooks", "archives", "recordings", "leads"} == set(report.left)
    assert report.removed == {
        "calls": 2,
        "archived_calls": 1,
        "recordings": 1,
        "webhooks": 1,
        "leads": 1,
    }
    assert report.backups == house.backups
    assert [proof.id for proof in house.proofs] == [report.id]
    assert house.held() == {"another"}
    assert HIM.lead_id not in house.leads.rows
    # bytes too, also those of what was deleted
    left = house.bytes_of_journal()
    assert PHONE.encode() not in left
    assert b"Wilhelmina" not in left
    assert b"+12025550199" in left
    assert not await house.book.erasures()


async def test_a_store_that_is_down_is_erased_when_it_is_back(house: House):
    await house.deliver(his("his"))
    house.stores[2].fails_with = DOWN
    report = await house.eraser.erase(person(lead_id=HIM.lead_id))
    assert report.done_at is None
    assert report.waiting == {house.stores[2].store: str(DOWN)}
    assert house.stores[2].store not in report.left
    assert not house.proofs
    assert house.held() == {"his"}
    # after a restart too: who it is is in the journal
    assert [erasure.id for erasure in await house.book.erasures()] == [report.id]
    house.stores[2].fails_with = None
    again = await house.eraser.erase(person(lead_id=HIM.lead_id))
    assert again.done_at is not None
    assert again.removed["calls"] == 1
    assert house.held() == set()


async def test_webhooks_of_his_legs_are_emptied_and_still_known(house: House):
    [leg, *_] = his("his").legs
    body = f'{{"call_leg_id":"{leg.call_leg_id}","transcript":"secret"}}'
    await house.journal.receive(webhook("e1", body))
    await house.deliver(his("his"))
    report = await house.eraser.erase(person(phone=PHONE))
    assert report.removed["webhooks"] == 1
    assert b"secret" not in house.bytes_of_journal()
    assert house.journal.seen("e1") is not None


async def test_a_restart_goes_on_where_it_was(house: House):
    await house.deliver(his("his"), old("over"))
    house.stores[3].fails_with = DOWN
    await house.eraser.erase(person(phone=PHONE))
    await house.retention("*=365").apply()
    await house.journal.aclose()
    path = house.folder / "journal.sqlite3"
    journal = await SqliteJournal.open(path, clock=house.clock)
    after = House(journal, house.folder, house.clock)
    after.stores[3].held.update(house.stores[3].held)
    assert after.held() == {"his", "over"}
    assert await after.forgetter.work() == {}
    report = await after.eraser.erase(person(phone=PHONE))
    await journal.aclose()
    assert report.done_at is not None
    assert report.removed["calls"] == 1
    assert after.held() == set()


async def test_open_erasures_are_gone_on_with_by_themselves(
    house: House,
):
    await house.deliver(his("his"))
    house.leads.fails = DOWN
    await house.eraser.erase(person(phone=PHONE))
    house.leads.fails = None
    running = asyncio.create_task(house.eraser.run())
    async with asyncio.timeout(5):
        await house.is_proven.wait()
    running.cancel()
    assert house.proofs[0].removed["leads"] == 1


async def test_a_record_that_comes_again_does_not_bring_him_back(house: House):
    await house.deliver(his("his"))
    await house.eraser.erase(person(phone=PHONE))
    assert await house.journal.commit(his("his")) == 0
    assert await house.journal.knows(CallId("his"))
    await house.deliver()
    assert house.held() == set()
    assert await house.journal.record(CallId("his")) is None


async def test_of_a_call_that_is_up_nothing_is_kept_when_it_has_ended(house: House):
    opened = CallOpened(
        call_id=CallId("up"), at=at(0), source="live", agent="external", lead=HIM, passive=True
    )
    leg = Leg(leg_id=LegId("v3:his-leg"), party="prospect")
    await house.journal.append(opened.call_id, opened)
    await house.journal.append(opened.call_id, LegJoined(at=at(0), leg=leg, answered=True))
    report = await house.eraser.erase(person(phone=PHONE))
    assert "up" in report.waiting["live"]
    assert report.done_at is None
    # it goes on: a restart would still take it up
    assert [call.call_id for call in await house.journal.open_calls()] == ["up"]
    await house.journal.receive(webhook("late", '{"call_control_id":"v3:his-leg"}'))
    assert await house.journal.commit(his("up")) == 0
    done = await house.eraser.erase(person(phone=PHONE))
    assert done.done_at is not None
    assert b"v3:his-leg" not in house.bytes_of_journal()


async def test_of_somebody_unknown_nothing_is_found_and_that_is_proven(house: House):
    await house.deliver(rich_record("another"))
    report = await house.eraser.erase(person(phone="+12025550100"))
    assert report.done_at is not None
    assert set(report.left.values()) == {0}
    assert set(report.removed.values()) == {0}
    assert house.held() == {"another"}


async def test_what_is_being_delivered_is_waited_for_and_does_not_come_back(house: House):
    slow = SlowProjection("neo4j")
    relay = Relay(house.journal, [slow], house.clock)
    forgetter = Forgetter(house.book, [slow], relay.paused)
    await house.journal.commit(his("his"))
    running = asyncio.create_task(relay.run())
    await slow.is_asked.wait()
    await house.book.mark([CallId("his")], "erased")
    forgetting = asyncio.create_task(forgetter.work())
    # the store takes what it was being given
    await house.book.left()
    assert not forgetting.done()
    slow.may_answer.set()
    assert await forgetting == {}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [record.call_id for record in slow.applied] == ["his"]
    assert not slow.held
