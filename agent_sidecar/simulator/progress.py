"""What a replay tells while it runs, and what it found in the end."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agent_sidecar.domain.types import STORES

# --- while it runs ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayStarted:
    file_id: str
    segments: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHeard:
    """A message of the hints socket about one of our calls."""

    file_id: str
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayEnded:
    """The call has hung up; its record is now on its way to the stores."""

    file_id: str
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresReached:
    """How far the call's record has come; sent on every change."""

    file_id: str
    stores: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyStarted:
    pass


Progress: TypeAlias = PlayStarted | MessageHeard | PlayEnded | StoresReached | VerifyStarted

# --- in the end ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedCall:
    """One call's row of the report."""

    # the file's id; ours is `sidecar_call_id`
    call_id: str
    sidecar_call_id: str | None
    segments: int
    acknowledged: int
    hints: int
    score_start: float | None
    score_end: float | None
    hint_p50_ms: float | None
    hint_max_ms: float | None
    outcome: str | None
    stores: Mapping[str, str]
    refused: int
    lost: int
    retries: int
    frames: int
    stream: str | None
    error: str | None

    @property
    def complete(self) -> bool:
        """Every line was taken and every store has the record."""
        delivered = [self.stores.get(store) == "delivered" for store in STORES]
        return self.error is None and self.acknowledged == self.segments and all(delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    calls: tuple[ReplayedCall, ...]
    # empty and no error: clean
    differences: tuple[Any, ...] = ()
    verify_error: str | None = None

    @property
    def clean(self) -> bool:
        return not self.differences and self.verify_error is None

    def document(self) -> dict[str, object]:
        """Return the report as `--json` prints it."""
        trouble = list(self.differences) or [self.verify_error]
        return {
            "calls": [_document(call) for call in self.calls],
            "verify": "clean" if self.clean else trouble,
        }


@dataclass(slots=True)
class HeardCall:
    """What the hints socket said about one call."""

    hints: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)

    def hear(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"type": "hint", "hint_id": str(hint_id)}:
                self.hints[hint_id] = message
            case {"type": "score", "call_engagement": int() | float() as score}:
                self.scores.append(float(score))
            case _:
                pass

    @property
    def latencies_ms(self) -> Sequence[float]:
        """How long each hint took, sorted."""
        found = (hint.get("latency_ms") for hint in self.hints.values())
        return sorted(float(value) for value in found if isinstance(value, int | float))

    @property
    def p50_ms(self) -> float | None:
        return statistics.median(self.latencies_ms) if self.latencies_ms else None


HEADINGS = ("call", "segments", "score", "hints", "p50 / max ms", "outcome", "stores", "")


def table_rows(report: ReplayReport) -> list[tuple[str, ...]]:
    """Return one row of text per call, in the order of `HEADINGS`; for people."""
    return [
        (
            call.call_id,
            str(call.segments),
            f"{_number(call.score_start)} → {_number(call.score_end)}",
            str(call.hints),
            f"{_number(call.hint_p50_ms)} / {_number(call.hint_max_ms)}",
            call.outcome or "-",
            _stores(call.stores),
            call.error or "",
        )
        for call in report.calls
    ]


def _document(call: ReplayedCall) -> dict[str, object]:
    fields = ReplayedCall.__dataclass_fields__
    return {name: getattr(call, name) for name in fields} | {"stores": dict(call.stores)}


def _stores(stores: Mapping[str, str]) -> str:
    late = [f"{store} {stores.get(store, 'unknown')}" for store in STORES]
    bad = [text for text in late if not text.endswith(" delivered")]
    return ", ".join(bad) if bad else f"all {len(STORES)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
