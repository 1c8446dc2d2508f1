"""Compares every journalled record with what every store holds of it.

Works beside a running service: a record that is on its way, or is corrected meanwhile, is counted
as pending and not as a difference.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from agent_sidecar.domain.types import CallId, DeliveryState, StoreName
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.ports import CommittedRecord, Journal, Projection

log = structlog.get_logger()

_BATCH = 100
# how long one store may take for one batch
_ANSWER_S = 60.0
# how many differences the summary names
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a store holds otherwise than the journal."""

    store: StoreName
    call_id: CallId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """A store that could not be asked about every record."""

    store: StoreName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the audit found."""

    # finished calls looked at, and calls that have no record yet
    records: int
    open_calls: int
    pending: Mapping[StoreName, int]
    parked: Mapping[StoreName, int]
    differences: tuple[Difference, ...]
    unreachable: tuple[Unreachable, ...]

    @property
    def clean(self) -> bool:
        """Every record is in every store, as the journal has it."""
        counts = [*self.pending.values(), *self.parked.values()]
        return not (any(counts) or self.differences or self.unreachable)

    def summary(self) -> Sequence[str]:
        """Return lines for people."""
        stores = ", ".join(self.pending)
        lines = [f"{self.records} records in {stores}: " + ("clean" if self.clean else "NOT clean")]
        if self.open_calls:
            lines.append(f"{self.open_calls} calls are open: their records come when they end")
        lines += [f"{u.store}: not reachable: {u.reason}" for u in self.unreachable]
        for store, count in self.pending.items():
            if count:
                lines.append(f"{store}: {count} not delivered yet: they follow while `serve` runs")
        for store, count in self.parked.items():
            if count:
                lines.append(f"{store}: {count} parked: the store refused them, see the log")
        named = self.differences[:_NAMED]
        lines += [f"{d.store}: call {d.call_id}: {d.text}" for d in named]
        if len(self.differences) > _NAMED:
            lines.append(f"... and {len(self.differences) - _NAMED} more differences")
        return lines

    def to_json(self) -> Mapping[str, object]:
        """Return the whole report for programs."""
        return {
            "verify": "clean" if self.clean else "not clean",
            "records": self.records,
            "open_calls": self.open_calls,
            "pending": dict(self.pending),
            "parked": dict(self.parked),
            "differences": [
                {"store": d.store, "call_id": d.call_id, "text": d.text} for d in self.differences
            ],
            "unreachable": {u.store: u.reason for u in self.unreachable},
        }


async def verify(
    journal: Journal,
    projections: Sequence[Projection],
    *,
    only: Collection[CallId] | None = None,
    answer_s: float = _ANSWER_S,
) -> Report:
    """Audit all stores; with `only`, about these calls. Raises `JournalFailed`."""
    audits = [_Audit(journal, projection, answer_s) for projection in projections]
    records = 0
    async for batch in journal.records(batch=_BATCH):
        asked = [c for c in batch if only is None or c.record.call_id in only]
        records += len(asked)
        async with asyncio.TaskGroup() as tasks:
            for audit in audits:
                tasks.create_task(audit.ask(asked), name=f"verify:{audit.store}")
    open_ids = {call.call_id for call in await journal.open_calls()}
    return Report(
        records=records,
        open_calls=len(open_ids if only is None else open_ids & set(only)),
        pending={audit.store: audit.counts["pending"] for audit in audits},
        parked={audit.store: audit.counts["parked"] for audit in audits},
        differences=tuple(d for audit in audits for d in audit.differences),
        unreachable=tuple(audit.unreachable for audit in audits if audit.unreachable),
    )


class _Audit:
    """What one store has answered."""

    def __init__(self, journal: Journal, projection: Projection, answer_s: float) -> None:
        self.store = projection.store
        self.counts: dict[DeliveryState, int] = {"pending": 0, "delivered": 0, "parked": 0}
        self.differences: list[Difference] = []
        self.unreachable: Unreachable | None = None
        self._journal = journal
        self._projection = projection
        self._answer_s = answer_s

    async def ask(self, batch: Sequence[CommittedRecord]) -> None:
        """Compare the delivered ones; the others are known to be missing."""
        for committed in batch:
            self.counts[self._state(committed)] += 1
        delivered = [c for c in batch if self._state(c) == "delivered"]
        found = await self._differences(delivered)
        if found:
            # What changed since the batch was read is no difference: ask again about those.
            read_again = [await self._journal.record(call_id) for call_id in found]
            now = [committed for committed in read_again if committed is not None]
            moved = sum(self._state(committed) == "pending" for committed in now)
            self.counts["delivered"] -= moved
            self.counts["pending"] += moved
            found = await self._differences([c for c in now if self._state(c) == "delivered"])
        self.differences += [
            Difference(store=self.store, call_id=call_id, text=text)
            for call_id, texts in found.items()
            for text in texts
        ]

    async def _differences(
        self, batch: Sequence[CommittedRecord]
    ) -> Mapping[CallId, Sequence[str]]:
        if self.unreachable is not None or not batch:
            return {}
        deadline = asyncio.get_running_loop().time() + self._answer_s
        try:
            async with asyncio.timeout_at(deadline):
                return await self._projection.differences([c.record for c in batch])
        except StoreUnavailable as exc:
            reason = str(exc)
        except TimeoutError:
            reason = f"no answer within {self._answer_s:g} s"
        except Exception as exc:
            # the other stores are still worth an audit
            log.exception("verify_failed", store=self.store)
            reason = f"the comparison failed: {exc!r}"
        self.unreachable = Unreachable(store=self.store, reason=reason)
        return {}

    def _state(self, committed: CommittedRecord) -> DeliveryState:
        status = committed.deliveries.get(self.store)
        # a store that is newer than the record has never been told
        return "pending" if status is None else status.state
