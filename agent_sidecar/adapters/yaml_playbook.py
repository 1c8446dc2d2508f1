"""Reads a playbook from YAML; every mistake is named with its line, and all of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from agent_sidecar.adapters.yaml_tree import NotYaml, TreeReader, compose
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.playbook_check import Mistake, mistakes
from agent_sidecar.domain.playbook_oddities import oddities
from agent_sidecar.errors import PlaybookInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A mistake as a person finds it: the line in the file, the place, what to do."""

    line: int
    # strategies[3].say, empty: the whole
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A playbook with what is wrong and what is odd about it."""

    # None: it cannot be used
    playbook: Playbook | None
    mistakes: tuple[Told, ...] = ()
    # it works all the same
    warnings: tuple[Told, ...] = ()


def default_playbook_text() -> str:
    """Return the playbook that ships."""
    return (files("agent_sidecar") / "default_playbook.yaml").read_text("utf-8")


def read_playbook(path: Path | None) -> Playbook:
    """Read the user's playbook, or the one that ships. Raises `PlaybookInvalid`."""
    return _usable(check_playbook(path), str(path or "the default playbook"))


def parse_playbook(text: str, name: str) -> Playbook:
    """Read a playbook from its text; `name` is how messages call it. Raises `PlaybookInvalid`."""
    return _usable(check_text(text), name)


def check_playbook(path: Path | None) -> Checked:
    """Check a file, or the playbook that ships. Raises `PlaybookInvalid` if there is no file."""
    if path is None:
        return check_text(default_playbook_text())
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise PlaybookInvalid(f"cannot read the playbook {path}: {exc.strerror}") from exc
    try:
        return check_text(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        text = f"not UTF-8 text (byte 0x{raw[exc.start]:02x}); save the file as UTF-8"
        return Checked(playbook=None, mistakes=(Told(line=line, place="", text=text),))


def check_text(text: str) -> Checked:
    """Check the text of a playbook; never raises."""
    last = max(1, len(text.splitlines()))
    try:
        tree = compose(text)
    except NotYaml as exc:
        return Checked(
            playbook=None, mistakes=(Told(line=min(exc.line, last), place="", text=exc.text),)
        )
    if tree is None:
        empty = "is empty; begin with `agent-sidecar playbook show > FILE`"
        return Checked(playbook=None, mistakes=(Told(line=1, place="", text=empty),))
    reader = TreeReader()
    plain = reader.read(tree, msgspec.inspect.type_info(Playbook))
    found = [
        Told(line=min(one.line, last), place=_place(one.path), text=one.text)
        for one in reader.misread
    ]
    if reader.broken:
        return Checked(playbook=None, mistakes=_in_order(found))
    playbook = msgspec.convert(plain, Playbook)

    def told(mistake: Mistake) -> Told:
        line = min(reader.line(mistake.path), last)
        return Told(line=line, place=_place(mistake.path), text=mistake.text)

    found += map(told, mistakes(playbook))
    if found:
        return Checked(playbook=None, mistakes=_in_order(found))
    return Checked(playbook=playbook, warnings=_in_order(map(told, oddities(playbook))))


def in_lines(name: str, found: Iterable[Told], kind: str = "") -> list[str]:
    """Return one line for each, as compilers write them: `name:line: place: text`."""
    return [
        f"{name}:{one.line}: {kind}{f'{one.place}: ' if one.place else ''}{one.text}"
        for one in found
    ]


def _usable(checked: Checked, name: str) -> Playbook:
    if checked.playbook is None:
        raise PlaybookInvalid("\n".join(in_lines(name, checked.mistakes)))
    return checked.playbook


def _in_order(found: Iterable[Told]) -> tuple[Told, ...]:
    return tuple(sorted(found, key=lambda one: one.line))


def _place(path: tuple[str | int, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).lstrip(".")
