"""The picture of a comparison."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_sidecar.commands.drawing import MARGIN, PALE, Box, Shape, Words, write_picture
from agent_sidecar.learning.policy_try import ENDS, Comparison

# left of the bars stand their names, right of them their numbers
BARS_FROM, BARS_TO = 270, 830
BAR, ROW = 13, 40
IN_USE, TRIED = "#9fb3c8", "#d9762b"
NAMES = {"well": "ended well", "badly": "ended badly", "unknown": "end unknown"}
MOST_STRATEGIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One thing under both policies: what the bars show, and what is written beside them."""

    name: str
    in_use: float
    tried: float
    in_use_text: str
    tried_text: str


def draw(comparison: Comparison, file: Path) -> None:
    """Write the picture, as SVG or PNG by the file's name."""
    write_picture(list(_layout(comparison)), file)


def share_pairs(comparison: Comparison) -> list[Pair]:
    """Return the share of calls in which a transfer is proposed, by how they ended."""
    pairs = []
    for end in ENDS:
        before, now = comparison.in_use.ends[end], comparison.tried.ends[end]
        if calls := before.calls:
            pairs.append(
                Pair(
                    name=f"{NAMES[end]} ({calls:,})",
                    in_use=before.transfers_proposed / calls,
                    tried=now.transfers_proposed / calls,
                    in_use_text=_share(before.transfers_proposed, calls),
                    tried_text=_share(now.transfers_proposed, calls),
                )
            )
    return pairs


def hint_pairs(comparison: Comparison) -> list[Pair]:
    """Return the hints given of each strategy, those hinted most first."""
    before, now = comparison.in_use.strategies, comparison.tried.strategies
    pairs = []
    for name in {*before, *now}:
        old = before[name].given if name in before else 0
        new = now[name].given if name in now else 0
        if old or new:
            pairs.append(
                Pair(
                    name=name, in_use=old, tried=new, in_use_text=f"{old:,}", tried_text=f"{new:,}"
                )
            )
    return sorted(pairs, key=lambda pair: (-max(pair.in_use, pair.tried), pair.name))


def _layout(comparison: Comparison) -> Iterator[Shape]:
    first, *rest = comparison.in_words()
    y = 48.0
    for line in _folded(first.rstrip(":"), 80):
        yield Words(x=MARGIN, y=y, text=line, size=20)
        y += 28
    for sentence in rest:
        for line in _folded(sentence, 115):
            yield Words(x=MARGIN, y=y, text=line, colour=PALE)
            y += 21
    y += 14
    for x, colour, name in ((MARGIN, IN_USE, "in use"), (MARGIN + 90, TRIED, "tried")):
        yield Box(x=x, y=y - 11, width=14, height=14, colour=colour)
        yield Words(x=x + 20, y=y + 1, text=name)
    y += 44
    hints = hint_pairs(comparison)
    parts = (
        ("Calls in which a transfer is proposed", share_pairs(comparison), 1.0),
        ("Hints given, by strategy", hints[:MOST_STRATEGIES], None),
    )
    for title, pairs, full in parts:
        yield Words(x=MARGIN, y=y, text=title, size=16)
        y += 16
        most = full or max((max(p.in_use, p.tried) for p in pairs), default=0.0) or 1.0
        for pair in pairs:
            yield from _bars(pair, y, most)
            y += ROW
        y += 30
    if (left := len(hints) - MOST_STRATEGIES) > 0:
        yield Words(x=MARGIN, y=y - 18, text=f"and {left} more", colour=PALE)


def _bars(pair: Pair, y: float, most: float) -> Iterator[Shape]:
    name = pair.name if len(pair.name) <= 32 else f"{pair.name[:31]}…"
    yield Words(x=BARS_FROM - 12, y=y + BAR + 5, text=name, anchor="end")
    for at, value, text, colour in (
        (y, pair.in_use, pair.in_use_text, IN_USE),
        (y + BAR + 2, pair.tried, pair.tried_text, TRIED),
    ):
        length = max(1.0, (BARS_TO - BARS_FROM) * value / most)
        yield Box(x=BARS_FROM, y=at, width=length, height=BAR, colour=colour)
        yield Words(x=BARS_FROM + length + 8, y=at + BAR - 2, text=text, size=12, colour=PALE)


def _folded(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


def _share(part: int, calls: int) -> str:
    return f"{part:,} of {calls:,}"
