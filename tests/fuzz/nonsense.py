"""What may come in over a public port instead of what should."""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

# a step into a list or an object
Path = tuple[str | int, ...]

_DEEP: list[Any] = []
for _ in range(200):
    _DEEP = [_DEEP]

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        1.5,
        -0.0,
        1e308,
        2**31,
        2**53 + 1,
        2**63,
        2**64,
        -(2**63) - 1,
    ),
    *(10**40, -(10**400), float("nan"), float("inf"), "", " ", "x", "0", "-5", "1.5", "9" * 400),
    *("null", "\x00", "\ud800", "\udfff\ud800", "\u202e", "💥" * 30, "ß" * 300, "a" * 20_000),
    *("%%%", "eA", "eA==", "AAAA" * 5_000, "../../etc/passwd", "' OR 1=1 --", "{{7*7}}", "<b>"),
    *("2026-03-02T15:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "now"),
    *(
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
        "inbound",
        "outbound",
        "both",
        "prospect",
    ),
    *(
        [],
        {},
        [[]],
        [None] * 50,
        ["x", 1, {}],
        {"a": {}},
        {"": ""},
        {"name": "x", "value": 1},
        _DEEP,
    ),
)


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the way to every member, at every depth."""
    members: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        yield (*path, name)
        yield from paths(member, (*path, name))


def mutated(value: Any, random: Random) -> tuple[Any, Path]:
    """Return a copy with one member changed, and which one."""
    copy = deepcopy(value)
    path = random.choice(list(paths(copy)))
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    match random.randrange(6):
        case 0 if isinstance(holder, dict):
            del holder[path[-1]]
        case 1 if isinstance(holder, dict):
            holder[path[-1]] = {"a": holder[path[-1]]}
        case 2:
            holder[path[-1]] = [holder[path[-1]]] * random.randrange(4)
        case _:
            holder[path[-1]] = random.choice(ODD)
    return copy, path


def written(value: Any, random: Random) -> bytes:
    """Return JSON, now and then as others write it; NaN and lone surrogates included."""
    match random.randrange(8):
        case 0:
            text = json.dumps(value, indent=2)
        case 1:
            text = "\ufeff" + json.dumps(value)
        case 2:
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def torn(raw: bytes, random: Random) -> bytes:
    """Return bytes that were cut, doubled, swapped or made up."""
    at = random.randrange(len(raw) + 1)
    match random.randrange(8):
        case 0:
            return raw[:at]
        case 1:
            return raw[at:]
        case 2:
            return raw[:at] + random.randbytes(random.randrange(1, 20)) + raw[at:]
        case 3:
            return raw[:at] + bytes([raw[at - 1] ^ 1 << random.randrange(8)]) + raw[at:]
        case 4:
            return raw + raw
        case 5:
            return random.randbytes(random.randrange(300))
        case 6:
            return b"[" * random.randrange(1, 3000) + raw
        case _:
            return raw.replace(b'"', b"'", random.randrange(1, 4))
