"""Erases one lead everywhere, for as long as it takes, and proves it.

    asked ─▶ kept in the journal ─▶ his calls are looked for in every place ─▶ marked as erased
      ─▶ archives, recordings, webhooks, stores, his row ─▶ every place is asked again
           ▲                                                  │ something is left, or does
           └─── pause ◀───────────────────────────────────────┘ not answer
      ─▶ nothing is left: journal written anew, proof on disk, who he was forgotten

A call of his that is up goes on; when it has ended nothing of it is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import ArchiveFailed, JournalFailed, SidecarError, StoreUnavailable
from agent_sidecar.ports import (
    Archives,
    Clock,
    Conversations,
    ForgettingBook,
    Journal,
    LeadRows,
    OpenErasure,
    Projection,
    RecordingFolder,
)
from agent_sidecar.wrapup.forgetting import AGAIN_S, LONGEST_AGAIN_S, Forgetter
from agent_sidecar.wrapup.his_calls import HisCalls, his_calls

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFinding:
    """What is known of a backup; None: it could not be read and must be looked at."""

    path: str
    at: str
    holds_him: bool | None
    what_to_do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """How far an erasure is; nobody can be read from it."""

    # a hash of the lead's id
    id: str
    asked_at: str
    done_at: str | None
    # removed so far, by what
    removed: Mapping[str, int]
    # found afterwards, by place; those that did not answer are missing
    left: Mapping[str, int]
    # what is not done yet, and why
    waiting: Mapping[str, str]
    backups: Sequence[BackupFinding] = ()
    # where the proof is, from the data folder on
    proof: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureParts:
    """What it works with."""

    journal: Journal
    book: ForgettingBook
    projections: Sequence[Projection]
    conversations: Conversations
    leads: LeadRows
    archives: Archives
    recordings: RecordingFolder
    forgetter: Forgetter
    clock: Clock
    backups: Callable[[Person], Awaitable[Sequence[BackupFinding]]]
    # writes a report durably; returns where
    keep_proof: Callable[[ErasureReport], Awaitable[str]]


@dataclass(slots=True)
class _Pass:
    """One go through all places."""

    erasure: OpenErasure
    his: HisCalls
    # places that did not answer
    trouble: dict[str, str] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


class Eraser:
    """Goes on with open erasures while `run` runs."""

    def __init__(self, parts: ErasureParts) -> None:
        self._parts = parts
        # one pass at a time
        self._lock = asyncio.Lock()

    async def erase(self, person: Person) -> ErasureReport:
        """Erase him as far as it can be done now; the rest goes on by itself.

        Raises `JournalFailed` when that could not be promised.
        """
        book, now = self._parts.book, self._parts.clock.now()
        asked = OpenErasure(id=person.fingerprint, asked_at=now, person=person)
        # asked again: what has been found of him so far may be nowhere else any more
        erasure = next((one for one in await book.erasures() if one.id == asked.id), asked)
        await book.open_erasure(erasure)
        return await self._go_on(erasure)

    async def run(self) -> None:
        """Go on with what is open until cancelled."""
        pause_s = AGAIN_S
        while True:
            try:
                for erasure in await self._parts.book.erasures():
                    await self._go_on(erasure)
                is_open = bool(await self._parts.book.erasures())
            except SidecarError as exc:
                log.warning("erasure_not_done", error=str(exc))
                is_open = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_AGAIN_S) if is_open else AGAIN_S

    async def _go_on(self, erasure: OpenErasure) -> ErasureReport:
        async with self._lock:
            done = await self._remove(erasure)
            await self._ask_again(done)
            waiting = dict(done.trouble)
            if done.his.live:
                waiting["live"] = (
                    f"{len(done.his.live)} call(s) of his are up: nothing of them is kept when"
                    " they have ended"
                )
            if not waiting and not any(done.left.values()):
                try:
                    await self._parts.book.compact()
                except JournalFailed as exc:
                    waiting["journal"] = str(exc)
                else:
                    return await self._close(done)
            await self._parts.book.open_erasure(done.erasure)
            return self._report(done, waiting=waiting)

    async def _remove(self, erasure: OpenErasure) -> _Pass:
        parts = self._parts
        trouble: dict[str, str] = {}
        his = await his_calls(erasure, parts, trouble)
        erasure = replace(erasure, person=his.person, traces=erasure.traces | his.traces)
        # known for good before the first thing is removed by which it could be found again
        await parts.book.open_erasure(erasure)
        calls = his.calls | his.live
        await parts.book.mark(calls, "erased", live=his.live)
        removed = dict(erasure.removed)

        def count(what: str, number: int) -> None:
            removed[what] = removed.get(what, 0) + number

        count("calls", len(calls - his.marked))
        try:
            count("archived_calls", await parts.archives.remove(calls))
        except ArchiveFailed as exc:
            trouble["archives"] = str(exc)
        files = await parts.recordings.of_calls(calls)
        count("recordings", await parts.recordings.forget(files))
        webhooks = await parts.book.webhooks_about(erasure.traces)
        await parts.book.blank(webhooks)
        count("webhooks", len(webhooks))
        trouble |= await parts.forgetter.work()
        try:
            count("leads", await parts.leads.forget(his.person.lead_ids))
        except StoreUnavailable as exc:
            trouble["postgres"] = str(exc)
        return _Pass(erasure=replace(erasure, removed=removed), his=his, trouble=trouble)

    async def _ask_again(self, done: _Pass) -> None:
        """Count what every place still has of him."""
        parts, person = self._parts, done.erasure.person
        after: dict[str, str] = {}
        his = await his_calls(done.erasure, parts, after)
        erased = await parts.book.erased()
        done.trouble |= after
        done.left |= {place: number for place, number in his.found.items() if place not in after}
        done.left["webhooks"] = len(await parts.book.webhooks_about(done.erasure.traces))
        done.left["recordings"] = len(await parts.recordings.of_calls(erased))
        done.left["journal"] = await parts.book.held(erased - his.live)
        for projection in parts.projections:
            try:
                by_id = await _stored(projection, erased)
            except StoreUnavailable as exc:
                done.trouble[projection.store] = str(exc)
                done.left.pop(projection.store, None)
            else:
                done.left[projection.store] = max(done.left.get(projection.store, 0), by_id)
        if "postgres" not in done.trouble:
            done.left["leads"] = len(await parts.leads.named(person))

    async def _close(self, done: _Pass) -> ErasureReport:
        backups = await self._parts.backups(done.erasure.person)
        report = replace(
            self._report(done, waiting={}),
            done_at=self._parts.clock.now().isoformat(),
            backups=backups,
        )
        proof = await self._parts.keep_proof(report)
        await self._parts.book.close_erasure(done.erasure.id)
        # the row that said who he was
        await self._parts.book.compact()
        log.info("lead_erased", erasure=report.id, proof=proof)
        return replace(report, proof=proof)

    def _report(self, done: _Pass, *, waiting: Mapping[str, str]) -> ErasureReport:
        return ErasureReport(
            id=done.erasure.id,
            asked_at=done.erasure.asked_at.isoformat(),
            done_at=None,
            removed=done.erasure.removed,
            left=dict(sorted(done.left.items())),
            waiting=waiting,
        )


async def _stored(projection: Projection, call_ids: frozenset[CallId]) -> int:
    """Count which of these calls a store still has."""
    found = 0
    async for batch in projection.call_ids():
        found += len(call_ids.intersection(batch))
    return found
