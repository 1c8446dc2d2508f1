"""What `policy try` shows at a terminal: sentences, a table, bars."""

from datetime import datetime

from rich.table import Table
from rich.text import Text

from agent_sidecar.commands.policy_plot import Pair, hint_pairs, share_pairs
from agent_sidecar.commands.terminal import paper
from agent_sidecar.domain.types import StrategyName
from agent_sidecar.learning.policy_try import ENDS, Comparison, StrategyTally

ROWS = {
    "hints_given": "hints given",
    "hints_withheld": "hints withheld",
    "transfers_proposed": "transfers proposed",
    "further_transfers": "proposed again",
}
# columns that the longest bar takes
BAR = 40
EIGHTHS = " ▏▎▍▌▋▊▉"
IN_USE, TRIED = "grey62", "dark_orange"


def show(comparison: Comparison, *, since: datetime, until: datetime, by_words_alone: int) -> None:
    """Print the comparison for people."""
    first, *rest = comparison.in_words()
    paper.print(f"[bold]{first}[/]", soft_wrap=True)
    for sentence in rest:
        paper.print(f"  {sentence}", soft_wrap=True)
    paper.print()
    paper.print(_table(comparison))
    paper.print()
    paper.print(_shares(comparison))
    paper.print()
    paper.print(_strategies(comparison))
    calls = comparison.in_use.total().calls
    paper.print(
        f"\n[dim]{calls:,} calls from {since:%Y-%m-%d} to {until:%Y-%m-%d}, played by the same code"
        " under both: what was said stays as it was said, evidence is as the graph has it now,"
        " candidates are the playbook's own. withheld: asked, and nothing was sure enough.[/]"
    )
    if by_words_alone:
        paper.print(
            f"[yellow]{by_words_alone:,} of them have vectors of another embedding model and were"
            " read by their words alone[/]"
        )


def bar(share: float, columns: int = BAR) -> str:
    """Return a bar for 0..1, to an eighth of a column; what is more than nothing can be seen."""
    eighths = max(round(share * columns * 8), 1 if share > 0 else 0)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("in use → tried")
    ends = [end for end in ENDS if comparison.in_use.ends[end].calls]
    for end in ends:
        calls = comparison.in_use.ends[end].calls
        heading = {"well": "ended well", "badly": "ended badly", "unknown": "end unknown"}[end]
        table.add_column(f"{heading} ({calls:,})", justify="right")
    table.add_column("all", justify="right")
    before, now = comparison.in_use, comparison.tried
    for name, label in ROWS.items():
        cells = [_cell(getattr(before.ends[e], name), getattr(now.ends[e], name)) for e in ends]
        table.add_row(
            label, *cells, _cell(getattr(before.total(), name), getattr(now.total(), name))
        )
    return table


def _strategies(comparison: Comparison) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("strategy")
    for heading in ("hints given", "withheld"):
        table.add_column(heading, justify="right")
    table.add_column(_legend())
    before, now = comparison.in_use.strategies, comparison.tried.strategies
    given = {pair.name: pair for pair in hint_pairs(comparison)}
    most = max((max(p.in_use, p.tried) for p in given.values()), default=1.0)
    # those hinted most first; then those that were never sure enough
    for name in [*given, *sorted({*before, *now} - given.keys())]:
        old, new = (side.get(StrategyName(name), StrategyTally()) for side in (before, now))
        both = _two_bars(given[name], most) if name in given else Text()
        table.add_row(name, _cell(old.given, new.given), _cell(old.withheld, new.withheld), both)
    return table


def _shares(comparison: Comparison) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("a transfer is proposed in")
    table.add_column("", justify="right")
    table.add_column(_legend())
    for pair in share_pairs(comparison):
        texts = f"{pair.in_use_text}\n{pair.tried_text}"
        table.add_row(pair.name, texts, _two_bars(pair, 1.0))
    return table


def _legend() -> Text:
    return Text.assemble(("█ in use", IN_USE), "  ", ("█ tried", TRIED))


def _two_bars(pair: Pair, most: float) -> Text:
    return Text.assemble((bar(pair.in_use / most), IN_USE), "\n", (bar(pair.tried / most), TRIED))


def _cell(before: int, now: int) -> str:
    return f"{before:,} → {now:,}" if before == now else f"{before:,} → [bold]{now:,}[/]"
