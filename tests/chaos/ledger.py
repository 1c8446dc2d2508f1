"""What the service has acknowledged: the truth that everything is held against afterwards."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["webhooks", "api", "import", "transfer"]


@dataclass(slots=True, kw_only=True)
class Told:
    """One call as its teller knows it."""

    kind: Kind
    # the prospect's leg; an import's own id
    leg_id: str
    # None: nobody ever said that he has it
    call_id: str | None = None
    # lines that were answered 200: in the record, each once
    lines: list[str] = field(default_factory=list)
    # lines whose answer never came and that were not sent again: in the record, or not
    doubtful: list[str] = field(default_factory=list)
    # the hangup, or the whole import, was answered 200
    ended: bool = False
    # outcomes that were answered 200, in order
    outcomes: list[str] = field(default_factory=list)

    def faults(self, said: Sequence[str], final_status: str) -> Iterator[str]:
        """Say what a record with these lines and this outcome has not kept of it."""
        count = Counter(said)
        for line, times in Counter(self.lines).items():
            if count[line] != times:
                yield f"the line {line!r} was taken, and is in the record {count[line]} times"
        for line in self.doubtful:
            if count[line] > 1:
                yield f"the line {line!r} is in the record {count[line]} times"
        if self.outcomes and final_status != self.outcomes[-1]:
            yield f"its outcome is {final_status}, not {self.outcomes[-1]} as was taken last"


class Ledger:
    """All calls of a run."""

    def __init__(self) -> None:
        self.calls: list[Told] = []
        # answers by what was asked and how it went
        self.answers: Counter[str] = Counter()

    def open(self, kind: Kind, leg_id: str) -> Told:
        """Begin a call."""
        told = Told(kind=kind, leg_id=leg_id)
        self.calls.append(told)
        return told

    @property
    def acknowledged(self) -> Mapping[str, Told]:
        """The calls that somebody said he has, by call_id."""
        return {told.call_id: told for told in self.calls if told.call_id is not None}

    @property
    def ended(self) -> int:
        """How many are over."""
        return sum(told.ended for told in self.calls)

    def write(self, file: Path) -> None:
        """Keep it as evidence."""
        document = {"answers": self.answers, "calls": [asdict(told) for told in self.calls]}
        file.write_text(json.dumps(document, indent=1))
