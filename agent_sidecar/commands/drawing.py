"""Pictures of results: shapes laid out once, drawn as SVG by hand or as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from agent_sidecar.errors import SettingsInvalid

WIDTH, MARGIN = 960, 40
INK, PALE, PAPER = "#1f2933", "#6b7785", "#ffffff"
# a PNG is drawn larger, for screens with dense pixels
SCALE = 2
SUFFIXES = (".png", ".svg")
# as Pillow calls them: left or right, at the base line
_ANCHORS = {"start": "ls", "end": "rs"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Straight lines from point to point."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 2.0


Shape = Box | Words | Curve


def check_plot_file(file: Path | None) -> None:
    """Refuse a picture that could not be drawn, before minutes are spent on it."""
    if file is None:
        return
    if file.suffix.lower() not in SUFFIXES:
        raise SettingsInvalid(f"--plot {file}: the name must end with {' or '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise SettingsInvalid(f"--plot {file}: the folder {file.absolute().parent} is not there")


def write_picture(shapes: Sequence[Shape], file: Path) -> None:
    """Write the picture, as SVG or PNG by the file's name. Raises `SettingsInvalid`."""
    height = max(map(_lowest, shapes)) + MARGIN
    as_svg = file.suffix.lower() == ".svg"
    raw = _svg(shapes, height).encode() if as_svg else _png(shapes, height)
    try:
        file.write_bytes(raw)
    except OSError as exc:
        raise SettingsInvalid(f"--plot {file}: cannot be written: {exc.strerror}") from exc


def _lowest(shape: Shape) -> float:
    if isinstance(shape, Curve):
        return max(y for _, y in shape.points)
    return shape.y + (shape.height if isinstance(shape, Box) else 0)


def _svg(shapes: Sequence[Shape], height: float) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
        f' viewBox="0 0 {WIDTH} {height:.0f}"'
        ' font-family="system-ui, Helvetica, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="{PAPER}"/>',
        *map(_svg_shape, shapes),
    ]
    return "\n".join([*lines, "</svg>", ""])


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}"'
            f' height="{shape.height:.1f}" fill="{shape.colour}" rx="2"/>'
        )
    if isinstance(shape, Curve):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return (
            f'<polyline points="{points}" fill="none" stroke="{shape.colour}"'
            f' stroke-width="{shape.width:.1f}" stroke-linejoin="round"/>'
        )
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}"'
        f' fill="{shape.colour}" text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
    )


def _png(shapes: Sequence[Shape], height: float) -> bytes:
    picture = Image.new("RGB", (WIDTH * SCALE, round(height) * SCALE), PAPER)
    pen = ImageDraw.Draw(picture)
    for shape in shapes:
        _draw(pen, shape)
    raw = BytesIO()
    picture.save(raw, "PNG", optimize=True)
    return raw.getvalue()


def _draw(pen: ImageDraw.ImageDraw, shape: Shape) -> None:
    if isinstance(shape, Curve):
        points = [(x * SCALE, y * SCALE) for x, y in shape.points]
        pen.line(points, fill=shape.colour, width=round(shape.width * SCALE), joint="curve")
        return
    x, y = shape.x * SCALE, shape.y * SCALE
    if isinstance(shape, Box):
        corner = (x + shape.width * SCALE, y + shape.height * SCALE)
        pen.rounded_rectangle(((x, y), corner), radius=2 * SCALE, fill=shape.colour)
        return
    # the font that Pillow brings: a server has none
    font = ImageFont.load_default(size=shape.size * SCALE)
    pen.text((x, y), shape.text, fill=shape.colour, font=font, anchor=_ANCHORS[shape.anchor])
