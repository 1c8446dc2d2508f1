"""The picture of a comparison: laid out once, drawn as SVG by hand or as PNG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from agent_sidecar.errors import SettingsInvalid
from agent_sidecar.learning.policy_try import ENDS, Comparison

WIDTH, MARGIN = 960, 40
# left of the bars stand their names, right of them their numbers
BARS_FROM, BARS_TO = 270, 830
BAR, ROW = 13, 40
INK, PALE, IN_USE, TRIED, PAPER = "#1f2933", "#6b7785", "#9fb3c8", "#d9762b", "#ffffff"
NAMES = {"well": "ended well", "badly": "ended badly", "unknown": "end unknown"}
# a PNG is drawn larger, for screens with dense pixels
SCALE = 2
MOST_STRATEGIES = 20
SUFFIXES = (".png", ".svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    size: int = 14
    colour: str = INK
    anchor: Literal["start", "end"] = "start"


Shape = Box | Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One thing under both policies: what the bars show, and what is written beside them."""

    name: str
    in_use: float
    tried: float
    in_use_text: str
    tried_text: str


def check_plot_file(file: Path | None) -> None:
    """Refuse a picture that could not be drawn, before minutes are spent on it."""
    if file is None:
        return
    if file.suffix.lower() not in SUFFIXES:
        raise SettingsInvalid(f"--plot {file}: the name must end with {' or '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise SettingsInvalid(f"--plot {file}: the folder {file.absolute().parent} is not there")


def draw(comparison: Comparison, file: Path) -> None:
    """Write the picture, as SVG or PNG by the file's name."""
    shapes = list(_layout(comparison))
    height = max(s.y + (s.height if isinstance(s, Box) else 0) for s in shapes) + MARGIN
    as_svg = file.suffix.lower() == ".svg"
    raw = svg(shapes, height).encode() if as_svg else png(shapes, height)
    try:
        file.write_bytes(raw)
    except OSError as exc:
        raise SettingsInvalid(f"--plot {file}: cannot be written: {exc.strerror}") from exc


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


def svg(shapes: Sequence[Shape], height: float) -> str:
    """Return the shapes as an SVG document."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
        f' viewBox="0 0 {WIDTH} {height:.0f}"'
        ' font-family="system-ui, Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="{PAPER}"/>',
    ]
    for shape in shapes:
        if isinstance(shape, Box):
            lines.append(
                f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}"'
                f' height="{shape.height:.1f}" fill="{shape.colour}" rx="2"/>'
            )
        else:
            lines.append(
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}"'
                f' fill="{shape.colour}" text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


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


def png(shapes: Sequence[Shape], height: float) -> bytes:
    """Return the shapes as a PNG file."""
    picture = Image.new("RGB", (WIDTH * SCALE, round(height) * SCALE), PAPER)
    pen = ImageDraw.Draw(picture)
    for shape in shapes:
        x, y = shape.x * SCALE, shape.y * SCALE
        if isinstance(shape, Box):
            corner = (x + shape.width * SCALE, y + shape.height * SCALE)
            pen.rounded_rectangle(((x, y), corner), radius=2 * SCALE, fill=shape.colour)
        else:
            # the font that Pillow brings: a server has none
            font = ImageFont.load_default(size=shape.size * SCALE)
            anchor = "ls" if shape.anchor == "start" else "rs"
            pen.text((x, y), shape.text, fill=shape.colour, font=font, anchor=anchor)
    raw = BytesIO()
    picture.save(raw, "PNG", optimize=True)
    return raw.getvalue()
