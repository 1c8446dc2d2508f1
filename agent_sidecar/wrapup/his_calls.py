"""Finds the calls of one lead in every place that may have them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.events import LegJoined
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, Lead, Leg
from agent_sidecar.errors import ArchiveFailed, StoreUnavailable
from agent_sidecar.ports import (
    Archives,
    Conversations,
    ForgettingBook,
    Journal,
    LeadRows,
    OpenCall,
    OpenErasure,
)

# calls read at once, so that live ones need not wait for long
READ = 10
# so long after its end webhooks of a call still come
LATE = timedelta(hours=1)
# shorter texts would be found in webhooks of others
_TELLING = 8


class Places(Protocol):
    """Where calls are looked for."""

    @property
    def journal(self) -> Journal: ...

    @property
    def book(self) -> ForgettingBook: ...

    @property
    def conversations(self) -> Conversations: ...

    @property
    def leads(self) -> LeadRows: ...

    @property
    def archives(self) -> Archives: ...


@dataclass(slots=True)
class HisCalls:
    """What was found of him."""

    person: Person
    calls: set[CallId] = field(default_factory=set)
    # calls that are up
    live: set[CallId] = field(default_factory=set)
    # that were marked as erased before
    marked: frozenset[CallId] = frozenset()
    # what names him or his legs in a webhook
    traces: frozenset[str] = frozenset()
    # when the oldest webhook came that is kept; None: there is none
    webhooks_since: datetime | None = None
    # calls by place
    found: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, call_ids: Iterable[CallId]) -> None:
        ids = set(call_ids)
        self.calls |= ids
        self.found[place] = self.found.get(place, 0) + len(ids)

    def add_records(self, place: str, records: Sequence[CallRecord]) -> None:
        """Take what is his; webhooks are kept for a day, and each trace is one look at them all."""
        named = [record for record in records if self.person.is_named(record.lead)]
        self.add(place, (record.call_id for record in named))
        for record in named:
            if self.webhooks_since is not None and record.ended_at + LATE >= self.webhooks_since:
                self.trace(record.legs)

    def trace(self, legs: Iterable[Leg]) -> None:
        names = {n for leg in legs for n in (leg.leg_id, leg.call_leg_id, leg.call_session_id) if n}
        self.traces |= {name for name in names if len(name) >= _TELLING}


async def his_calls(erasure: OpenErasure, places: Places, trouble: dict[str, str]) -> HisCalls:
    """Return what is found of him; `trouble` is told which places did not answer."""
    his = HisCalls(
        person=erasure.person,
        marked=await places.book.erased(),
        webhooks_since=await places.book.oldest_webhook_at(),
    )
    try:
        for lead in await places.leads.named(his.person):
            his.person = his.person.known_as(lead)
        his.add("postgres", await places.leads.calls_of(his.person.lead_ids))
    except StoreUnavailable as exc:
        trouble["postgres"] = str(exc)
    his.traces |= {
        text
        for text in (*his.person.emails, *(f"+{digits}" for digits in his.person.phones))
        if len(text) >= _TELLING
    }
    await _in_journal(his, places)
    try:
        async for batch in places.conversations.records(since=None, without=(), batch=READ):
            his.add_records("conversations", batch)
    except StoreUnavailable as exc:
        trouble["conversations"] = str(exc)
    try:
        his.add("archives", await places.archives.find(his.person))
    except ArchiveFailed as exc:
        trouble["archives"] = str(exc)
    return his


async def _in_journal(his: HisCalls, places: Places) -> None:
    async for batch in places.journal.records(batch=READ):
        his.add_records("journal", [committed.record for committed in batch])
    for call in await places.journal.open_calls():
        if any(his.person.is_named(lead) for lead in _leads_of(call)):
            his.live.add(call.call_id)
            his.trace(event.leg for event in call.events if isinstance(event, LegJoined))


def _leads_of(call: OpenCall) -> Iterable[Lead]:
    """Return whom the call was said to be with: at its beginning, or found later."""
    told: Mapping[int, Lead] = {
        number: lead
        for number, event in enumerate(call.events)
        if isinstance(lead := getattr(event, "lead", None), Lead)
    }
    return told.values()
