"""What an audit of the stores found, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent_sidecar.domain.types import CallId, StoreName

# how many differences the summary names
_NAMED = 20
# `differs`: missing, or other than the record. `extra`: no source knows the call. `lost`: nor do
# they, but several stores hold it, so it was a call once. `unreadable`: the conversation store
# holds it, but not in a state to be read, and the journal has forgotten it. `counts`: a sum over
# calls is wrong.
Kind = Literal["differs", "extra", "lost", "unreadable", "counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a store holds otherwise than it should."""

    store: StoreName
    # None: it is about all calls
    call_id: CallId | None
    text: str
    kind: Kind = "differs"

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.store}: " + (f"call {self.call_id}: " if self.call_id else "") + self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A record that a store goes without, because a person said so."""

    store: StoreName
    call_id: CallId
    by: str
    reason: str | None

    def __str__(self) -> str:
        """Return it in one line."""
        why = self.reason or "no reason given"
        return f"{self.store}: call {self.call_id}: dropped by {self.by}: {why}"


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
    # what could not be looked at, and why; no difference
    notes: tuple[str, ...] = ()
    # known to be missing, and meant to be: listed, and clean all the same
    dropped: tuple[Dropped, ...] = ()

    @property
    def clean(self) -> bool:
        """Every record is in every store as its source has it, but for dropped ones; no others."""
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
                lines.append(f"{store}: {count} parked: `agent-sidecar deliveries` says why")
        lines += map(str, self.dropped[:_NAMED])
        if len(self.dropped) > _NAMED:
            lines.append(f"... and {len(self.dropped) - _NAMED} more were dropped")
        lines += self.notes
        lines += map(str, self.differences[:_NAMED])
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
                {"store": d.store, "call_id": d.call_id, "kind": d.kind, "text": d.text}
                for d in self.differences
            ],
            "unreachable": {u.store: u.reason for u in self.unreachable},
            "notes": list(self.notes),
            "dropped": [
                {"store": d.store, "call_id": d.call_id, "by": d.by, "reason": d.reason}
                for d in self.dropped
            ],
        }
