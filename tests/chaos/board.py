"""What a person sees: a live table of the scenarios, and afterwards what became of each."""

import time
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

State = Literal["waits", "runs", "clean", "FAILED", "skipped"]
# of the table in a file
_WIDE = 150
_COLOURS: dict[State, str] = {
    "waits": "dim",
    "runs": "cyan",
    "clean": "green",
    "FAILED": "bold red",
    "skipped": "yellow",
}


@dataclass(slots=True, kw_only=True)
class Row:
    """One scenario."""

    name: str
    about: str
    state: State = "waits"
    # what it does now
    doing: str = ""
    # what was done to the service or its stores
    blows: int = 0
    calls: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    began_s: float = 0.0
    took_s: float = 0.0
    # what was found, and what is worth knowing of a clean run
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "scenario": self.name,
            "state": self.state,
            "blows": self.blows,
            "calls": self.calls,
            "records": self.records,
            "lost": self.lost,
            "doubled": self.doubled,
            "took_s": round(self.took_s, 1),
            "faults": self.faults,
            "remarks": self.remarks,
        }


class Board:
    """The rows; a table on a terminal, lines elsewhere."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.screen = Console(stderr=True)
        if not self.screen.is_terminal:
            self.screen = Console(stderr=True, width=_WIDE)
        self._live = Live(
            console=self.screen, get_renderable=self._table, refresh_per_second=4, transient=True
        )
        self._is_live = self.screen.is_terminal

    def __enter__(self) -> "Board":
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_live:
            self._live.stop()
        self.screen.print(self._table())

    def begin(self, row: Row) -> None:
        """Say that a scenario starts."""
        row.state, row.began_s = "runs", time.monotonic()
        self._line(f"{row.name}: {row.about}")

    def do(self, row: Row, doing: str) -> None:
        """Say what it does now."""
        row.doing, row.took_s = doing, time.monotonic() - row.began_s
        self._line(f"{row.name}: {row.took_s:6.1f} s  {doing}")

    def end(self, row: Row, state: State, doing: str) -> None:
        """Say how a scenario ended."""
        row.state, row.doing, row.took_s = state, doing, time.monotonic() - row.began_s
        self._line(f"{row.name}: {state} after {row.took_s:.0f} s: {doing}")

    def _line(self, text: str) -> None:
        if not self._is_live:
            self.screen.print(text, highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title="chaos")
        table.add_column("scenario")
        table.add_column("state")
        for name in ("blows", "calls", "records", "lost", "doubled", "s"):
            table.add_column(name, justify="right")
        table.add_column("now, or at the end", overflow="fold")
        for row in self.rows:
            if row.state == "runs":
                row.took_s = time.monotonic() - row.began_s
            counts = (row.blows, row.calls, row.records, row.lost, row.doubled, round(row.took_s))
            state = f"[{_COLOURS[row.state]}]{row.state}[/]"
            table.add_row(row.name, state, *map(str, counts), row.doing or row.about)
        return table
