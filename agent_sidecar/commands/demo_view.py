"""What a person sees of the demo: the conversation, the score and why it moves, hints, Kevin."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from agent_sidecar.commands.terminal import paper
from agent_sidecar.domain.events import TransferStep
from agent_sidecar.simulator import progress as told
from agent_sidecar.simulator.progress import ReplayReport

_BAR = 20
_SPEAKERS = {"prospect": "[bold cyan]Maria[/]", "agent": "agent", "closer": "Kevin"}
_STORES = {
    "conversations": "conversation store",
    "postgres": "PostgreSQL (CRM)",
    "neo4j": "graph",
    "chroma": "vectors",
}
# what is told of the closer at each step; an end has words of its own
STEPS: Mapping[TransferStep, str] = {
    "leased": "is reserved for this call",
    "dialing": "is being called",
    "ringing": "hears his phone ring",
    "answered": "picked up",
    "detected": "was listened to by machine detection",
    "briefing": "hears who is on the line and why: press 1 to take the call",
    "accepted": "pressed 1",
    "bridging": "is being connected",
    "bridged": "is talking to Maria",
}


class DemoView:
    """Prints the demo, line by line."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: datetime | None = None
        self._score: float | None = None
        self._stores: dict[str, str] = {}
        self._engines: dict[str, str] = {}

    def starting(self) -> None:
        """Say what is being started."""
        paper.rule("[bold]agent_sidecar demo[/]")
        paper.print(
            "Starting the service on its embedded stack: PostgreSQL, a graph over Bolt, Valkey,"
            " Chroma.\nA simulator plays Telnyx: signed webhooks, a media socket with two tracks,"
            " Call Control."
        )

    def started(self, url: str, stores: Sequence[Mapping[str, Any]]) -> None:
        """Say where the service answers, on which engines."""
        self._engines = {str(row["store"]): str(row["engine"]) for row in stores}
        paper.print(f"[green]ready[/]  {url}")

    def learnt(self, calls: int, new: int) -> None:
        """Say what the hints' evidence comes from."""
        how = f"{new} imported now" if new else "imported before"
        paper.print(f"[green]ready[/]  evidence from {calls} earlier calls ({how})")
        paper.print(
            f"\nMaria filled in a form; our agent calls her (speed {self._speed:g})."
            " Engagement goes from 0 (lost) to 100 (keen); the call's moves 40 % of the way to what"
            " each line of hers is worth, and the reasons are the line's.\n"
        )

    def tell(self, event: told.Progress) -> None:
        """Show what the service says."""
        match event:
            case told.MessageHeard(message={"type": "score"} as message):
                self._line(message)
            case told.MessageHeard(message={"type": "hint"} as message):
                self._hint(message)
            case told.MessageHeard(message={"type": "transfer"} as message):
                self._transfer(message)
            case told.PlayEnded(error=error):
                self._ended(error)
            case told.StoresReached(stores=stores):
                self._arrived(stores)

    def report(self, report: ReplayReport) -> None:
        """Say what came of the call."""
        for call in report.calls:
            paper.print(
                f"\n[bold]{call.segments}[/] lines, [bold]{call.frames}[/] audio frames,"
                f" [bold]{call.hints}[/] hints (median {_number(call.hint_p50_ms)} ms from text to"
                f" hint), engagement {_number(call.score_start)} → {_number(call.score_end)},"
                f" outcome [bold]{call.outcome}[/]"
            )
            if call.error:
                paper.print(f"[red]{escape(call.error)}[/]")
        verdict = "[green]clean[/]" if report.clean else "[red]not clean[/]"
        paper.print(f"verify: every record compared with every store: {verdict}")
        for difference in report.differences:
            paper.print(f"  [red]{escape(str(difference))}[/]")

    def where_to_look(self, url: str, data_dir: Path, *, keep: bool) -> None:
        """Say what to try next."""
        paper.print("\n[bold]Where to look next[/]")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("the service's log", str(data_dir / "logs" / "service.log"))
        table.add_row("everything it keeps", str(data_dir))
        table.add_row("recorded calls", ".venv/bin/agent-sidecar replay FILE --speed 20")
        table.add_row("a real Telnyx account", ".venv/bin/agent-sidecar serve; see README.md")
        if keep:
            table.add_row("while it runs", f"curl {url}/v1/calls")
        paper.print(table)

    def kept(self, url: str) -> None:
        """Say that the service goes on."""
        paper.print(f"\nThe service goes on at {url}. Ctrl-C stops it and its servers.")

    def stopped(self) -> None:
        """Say that nothing is left running."""
        paper.print("[dim]stopped everything that the demo started[/]")

    def _line(self, message: Mapping[str, Any]) -> None:
        speaker = _SPEAKERS.get(message["speaker"], message["speaker"])
        said = escape(message["text"]) or "[dim](speech without words)[/]"
        _row(self._at(message), speaker, said)
        if message["speaker"] == "prospect" and message["call_engagement"] is not None:
            self._show_score(message)
        elif message["strategy"]:
            _row("", "", f"[dim]phase {_phase(message)} · uses {message['strategy']}[/]")

    def _show_score(self, message: Mapping[str, Any]) -> None:
        score = float(message["call_engagement"])
        before = 50.0 if self._score is None else self._score
        self._score = score
        full = round(score / 100 * _BAR)
        colour = "green" if score >= 65 else "yellow" if score >= 45 else "red"
        arrow = "▲" if score > before + 0.5 else "▼" if score < before - 0.5 else "="
        reasons = "; ".join(f"{p['why']} {p['points']:+.0f}" for p in message["parts"][:3])
        own = f"line {message['engagement']:.0f}: {reasons}"
        objection = f" · [red]objection: {message['objection']}[/]" if message["objection"] else ""
        _row(
            "",
            "",
            f"[{colour}]{'█' * full}{'░' * (_BAR - full)} {score:.0f} {arrow}[/]"
            f" [dim]{escape(own)} · phase {_phase(message)}[/]{objection}",
        )

    def _hint(self, message: Mapping[str, Any]) -> None:
        evidence = message["evidence"]
        degraded = f" · without {', '.join(message['degraded'])}" if message["degraded"] else ""
        _row(
            "",
            "[bold magenta]▶ hint[/]",
            f"[bold magenta]{message['strategy']}[/] “{escape(message['say'])}”",
        )
        _row(
            "",
            "",
            f"[magenta]{message['confidence']:.0%} sure; {escape('; '.join(message['why']))};"
            f" tried {evidence['tried']}, won {evidence['won']} ·"
            f" {message['latency_ms']:.0f} ms{degraded}[/]",
        )

    def _transfer(self, message: Mapping[str, Any]) -> None:
        step, closer = message["step"], message["closer"] or "Kevin"
        if step == "ended":
            text = f"transfer ended: {message['outcome']}: {message['reason']}"
        else:
            text = f"{closer} {STEPS[step]}"
            if step == "detected":
                text += f": {message['reason'].replace('_', ' ')}"
        _row(self._at(message), "[bold yellow]☎[/]", f"[bold yellow]{escape(text)}[/]")

    def _ended(self, error: str | None) -> None:
        paper.print("\nThe call has ended. Its record is in the journal and goes to every store:")
        if error:
            paper.print(f"[red]{escape(error)}[/]")

    def _arrived(self, stores: Mapping[str, str]) -> None:
        for store, state in stores.items():
            if state != "pending" and self._stores.get(store) != state:
                colour = "green" if state == "delivered" else "red"
                engine = self._engines.get(store, "")
                name = _STORES.get(store, store)
                paper.print(f"  [{colour}]{state:<10}[/] {name:<20} {engine}")
        self._stores.update(stores)

    def _at(self, message: Mapping[str, Any]) -> str:
        at = datetime.fromisoformat(str(message["at"]))
        if self._began is None:
            self._began = at
        seconds = max(0, int((at - self._began).total_seconds()))
        return f"[dim]{seconds // 60}:{seconds % 60:02d}[/]"


def _row(at: str, who: str, text: str) -> None:
    """Print one line of the conversation; what is too long goes on below its beginning."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=5)
    row.add_column(width=6)
    row.add_column()
    row.add_row(at, who, text)
    paper.print(row)


def _phase(message: Mapping[str, Any]) -> str:
    return f"{message['phase']} {message['phase_name']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
