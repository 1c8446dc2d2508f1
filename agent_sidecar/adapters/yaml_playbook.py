"""Reads a playbook from YAML; every mistake is named with its line."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import msgspec
import yaml

from agent_sidecar.domain.playbook import Mistake, Playbook, mistakes
from agent_sidecar.errors import PlaybookInvalid

Place = tuple[str | int, ...]


def default_playbook_text() -> str:
    """Return the playbook that ships."""
    return (files("agent_sidecar") / "default_playbook.yaml").read_text("utf-8")


def read_playbook(path: Path | None) -> Playbook:
    """Read the user's playbook, or the one that ships. Raises `PlaybookInvalid`."""
    if path is None:
        return parse_playbook(default_playbook_text(), "the default playbook")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise PlaybookInvalid(f"cannot read the playbook {path}: {exc}") from exc
    return parse_playbook(text, str(path))


def parse_playbook(text: str, name: str) -> Playbook:
    """Read a playbook from its text; `name` is how messages call it. Raises `PlaybookInvalid`."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        plain = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise PlaybookInvalid(f"{name}:{line}: not valid YAML: {exc.problem}") from exc
    except yaml.YAMLError as exc:
        raise PlaybookInvalid(f"{name}:1: not valid YAML: {exc}") from exc
    if unknown := _unknown_keys(plain):
        raise PlaybookInvalid(_told(name, tree, unknown))
    try:
        playbook = msgspec.convert(plain, Playbook, strict=False)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$")
        mistake = Mistake(path=_place(path.rstrip("`")), text=f"{path.strip('.`')}: {message}")
        raise PlaybookInvalid(_told(name, tree, [mistake])) from exc
    if found := list(mistakes(playbook)):
        raise PlaybookInvalid(_told(name, tree, found))
    return playbook


def _told(name: str, tree: yaml.Node | None, found: Sequence[Mistake]) -> str:
    lines = [f"{name}:{_line(tree, mistake.path)}: {mistake.text}" for mistake in found]
    return "\n".join(lines)


def _line(node: yaml.Node | None, place: Place) -> int:
    """Return the line where a place of the document begins, as near as the document has it."""
    line = node.start_mark.line + 1 if node is not None else 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == step), None)
            if pair is None:
                break
            key, node = pair
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                break
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _place(path: str) -> Place:
    """Turn msgspec's `.phases[3].cues` into steps."""
    steps: list[str | int] = []
    for part in path.replace("[", ".[").split("."):
        if part.startswith("["):
            index = part.strip("[]")
            if index.isdigit():
                steps.append(int(index))
        elif part:
            steps.append(part)
    return tuple(steps)


def _unknown_keys(plain: object) -> Sequence[Mistake]:
    """Find keys that nothing reads: most are typing errors."""
    if not isinstance(plain, dict):
        return [Mistake(path=(), text="a playbook is a mapping with phases, strategies, …")]
    shape = msgspec.inspect.type_info(Playbook)
    return list(_walk(plain, shape, ()))


def _walk(plain: object, shape: msgspec.inspect.Type, place: Place) -> list[Mistake]:
    found: list[Mistake] = []
    if isinstance(shape, msgspec.inspect.DataclassType) and isinstance(plain, dict):
        known = {field.encode_name: field.type for field in shape.fields}
        for key, value in plain.items():
            if key in known:
                found += _walk(value, known[key], (*place, key))
            else:
                names = ", ".join(sorted(known))
                text = f"unknown key {key!r}; known here: {names}"
                found.append(Mistake(path=(*place, str(key)), text=text))
    elif isinstance(shape, msgspec.inspect.VarTupleType) and isinstance(plain, list):
        for index, value in enumerate(plain):
            found += _walk(value, shape.item_type, (*place, index))
    return found
