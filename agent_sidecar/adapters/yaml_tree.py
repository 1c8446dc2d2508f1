"""YAML as a tree of places, read by the shape that is wanted; every mistake keeps its line.

Values are taken as they are written, not as YAML 1.1 guesses: `no` where text is wanted is the word
“no”, and `9:30` where a time is wanted is half past nine, not 570.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time
from difflib import get_close_matches
from math import isfinite

import msgspec
import yaml

Path = tuple[str | int, ...]

# more is no playbook; aliases can make a short file as large as they like
LARGEST_CHARACTERS, MOST_VALUES, LARGEST_NUMBER = 2_000_000, 200_000, 10**9
# keys that nobody reads: a place for anchors
FREE = "x-"
_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WHOLE = re.compile(r"[-+]?\d{1,12}")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
# what YAML says, and what a person can do about it
_ADVICE = (
    ("'\\t'", "a tab is used to indent; use spaces"),
    ("mapping values are not allowed", "a text with a colon in it must be in quotes"),
    ("could not find expected ':'", "a key without a colon, or a text that is not in quotes"),
    ("expected <block end>", "the line is not indented as those before it"),
    ("but found another document", "`---` begins a second document; a playbook is one"),
    ("undefined alias", "a text that begins with * must be in quotes"),
    ("found unexpected end of stream", "a quote or bracket is never closed"),
    ("cannot start any token", "a text that begins with such a character must be in quotes"),
)


class NotYaml(Exception):
    """The text cannot be read at all."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """What is wrong at a place of the document, before anybody asks what it means."""

    line: int
    path: Path
    text: str


def compose(text: str) -> yaml.Node | None:
    """Return the tree of a document; None: it is empty. Raises `NotYaml`."""
    if len(text) > LARGEST_CHARACTERS:
        raise NotYaml(1, f"is longer than {LARGEST_CHARACTERS:,} characters")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        said = " ".join(part for part in (exc.context, exc.problem) if part)
        advice = next((advice for known, advice in _ADVICE if known in said), None)
        why = f"{advice} ({exc.problem})" if advice else said
        raise NotYaml(mark.line + 1 if mark else 1, f"not valid YAML: {why}") from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise NotYaml(line, f"a character that no text has: {exc.character!r}") from exc
    except yaml.YAMLError as exc:
        raise NotYaml(1, f"not valid YAML: {exc}") from exc
    except (RecursionError, ValueError) as exc:
        raise NotYaml(1, "not valid YAML: nested too deeply, or an escape of no character") from exc


class _Missing:
    """What could not be read."""


_MISSING = _Missing()


class TreeReader:
    """Reads one tree; afterwards `misread` says what is wrong, and `line` where places are."""

    def __init__(self) -> None:
        self.misread: list[Misread] = []
        # something that is needed could not be read
        self.broken = False
        self._lines: dict[Path, int] = {(): 1}
        self._values = 0

    def read(self, node: yaml.Node, shape: msgspec.inspect.Type) -> object:
        """Return plain values for `msgspec.convert`; of no use when `broken`."""
        return self._read(node, shape, (), node.start_mark.line + 1)

    def line(self, path: Path) -> int:
        """Return the line of a place, or of the nearest one around it."""
        return next(
            self._lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self._lines
        )

    def _read(self, node: yaml.Node, shape: msgspec.inspect.Type, path: Path, line: int) -> object:
        self._lines[path] = line
        self._values += 1
        if self._values > MOST_VALUES:
            if self._values == MOST_VALUES + 1:
                self._tell(line, path, f"more than {MOST_VALUES:,} values in one playbook")
            self.broken = True
            return _MISSING
        match shape:
            case msgspec.inspect.DataclassType():
                return self._mapping(node, shape, path, line)
            case msgspec.inspect.VarTupleType(item_type=item):
                return self._list(node, item, path, line)
            case msgspec.inspect.UnionType(types=types):
                wanted = next(t for t in types if not isinstance(t, msgspec.inspect.NoneType))
                return self._read(node, wanted, path, line)
            case _:
                return self._value(node, shape, path, line)

    def _mapping(
        self, node: yaml.Node, shape: msgspec.inspect.DataclassType, path: Path, line: int
    ) -> object:
        fields = {field.encode_name: field for field in shape.fields}
        if not isinstance(node, yaml.MappingNode):
            keys = ", ".join(f"{name}: …" for name, field in fields.items() if field.required)
            return self._refuse(line, path, f"must be keys with values ({keys or 'key: …'})")
        found: dict[str, object] = {}
        for name, key, value in self._pairs(node, path):
            field = fields.get(name)
            at = key.start_mark.line + 1
            if field is None:
                self._unknown(name, list(fields), (*path, name), at)
            elif value.tag == _NULL and not value.value.strip("~") and field.required:
                self._lines[(*path, name)] = at
                found[name] = self._refuse(at, (*path, name), "is empty; write its value")
            elif value.tag != _NULL:
                found[name] = self._read(value, field.type, (*path, name), at)
        for name, field in fields.items():
            if field.required and name not in found:
                self._refuse(line, path, f"`{name}` is missing")
        return {name: value for name, value in found.items() if value is not _MISSING}

    def _pairs(
        self, node: yaml.MappingNode, path: Path
    ) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Yield the keys of a mapping with what it is merged from; its own come last and count."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                yield from _merged(value, [node])
            elif not isinstance(key, yaml.ScalarNode):
                self._refuse(line, path, "a key must be a word")
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                text = f"the key `{key.value}` is there twice, first in line {first}; remove one"
                self._tell(line, (*path, key.value), text)
            elif not key.value.startswith(FREE):
                own[key.value] = key, value
        for name, (key, value) in own.items():
            yield name, key, value

    def _list(self, node: yaml.Node, item: msgspec.inspect.Type, path: Path, line: int) -> object:
        if not isinstance(node, yaml.SequenceNode):
            return self._refuse(line, path, "must be a list: each entry on a line with `- ` before")
        found: list[object] = []
        for index, entry in enumerate(node.value):
            at = entry.start_mark.line + 1
            if entry.tag == _NULL:
                text = (
                    "is empty; write it, or remove the `-` (text that begins with # needs quotes)"
                )
                found.append(self._refuse(at, (*path, index), text))
            else:
                found.append(self._read(entry, item, (*path, index), at))
        return found

    def _value(self, node: yaml.Node, shape: msgspec.inspect.Type, path: Path, line: int) -> object:
        if not isinstance(node, yaml.ScalarNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "keys with values"
            because = "a colon, bracket or brace in it: put it in quotes"
            return self._refuse(
                line, path, f"must be one value and is read as {kind}, for {because}"
            )
        text = node.value.strip()
        value = _converted(shape, node.value, text)
        if not isinstance(value, _Missing):
            return value
        return self._refuse(line, path, f"must be {_wanted(shape, text)}; found {_short(text)}")

    def _unknown(self, name: str, known: list[str], path: Path, line: int) -> None:
        close = get_close_matches(name, known, n=1)
        meant = (
            f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(sorted(known))}"
        )
        self._tell(line, path, f"unknown key `{_short(name)}`; {meant}")

    def _refuse(self, line: int, path: Path, text: str) -> _Missing:
        self.broken = True
        self._tell(line, path, text)
        return _MISSING

    def _tell(self, line: int, path: Path, text: str) -> None:
        self.misread.append(Misread(line=line, path=path, text=text))


def _merged(node: yaml.Node, around: list[yaml.Node]) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield what `<<` brings; a mapping that is merged into itself brings nothing."""
    if any(node is one for one in around):
        return
    if isinstance(node, yaml.SequenceNode):
        # the first one counts most
        for one in reversed(node.value):
            yield from _merged(one, [*around, node])
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == _MERGE:
                yield from _merged(value, [*around, node])
            elif isinstance(key, yaml.ScalarNode):
                yield key.value, key, value


def _converted(shape: msgspec.inspect.Type, raw: str, text: str) -> object:
    """Return the value that a shape wants, `_MISSING` when it is none of that shape."""
    value: object = None
    match shape:
        case msgspec.inspect.StrType():
            value = raw
        case msgspec.inspect.BoolType():
            value = _BOOLS.get(text.lower())
        case msgspec.inspect.IntType() if _WHOLE.fullmatch(text):
            value = int(text) if abs(int(text)) <= LARGEST_NUMBER else None
        case msgspec.inspect.FloatType():
            value = _number(text)
        case msgspec.inspect.TimeType():
            value = _time(text)
        case msgspec.inspect.LiteralType(values=values) if text in values:
            value = text
    return _MISSING if value is None else value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in text else None


def _time(text: str) -> time | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        hour, minute, second = (int(part or 0) for part in found.groups())
        return time(hour, minute, second)
    except ValueError:
        return None


def _wanted(shape: msgspec.inspect.Type, text: str) -> str:
    match shape:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number"
        case msgspec.inspect.FloatType():
            return "a number, with a point and without a unit"
        case msgspec.inspect.LiteralType(values=values):
            close = get_close_matches(text, [str(value) for value in values], n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            return f"one of {', '.join(str(value) for value in values)}{meant}"
        case _:
            if text.startswith("24:"):
                return 'a time from 00:00 to 23:59; midnight at the end of a day is "00:00"'
            return "a time such as 09:30, from 00:00 to 23:59"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
