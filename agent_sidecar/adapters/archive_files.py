"""Calls that have left the stores, as compressed files that `import` reads: one for each month.

A file is replaced as a whole, and its name appears only when all of it is on disk: so a crash at
any point leaves the former one, and what is added twice is there once.
"""

import asyncio
import gzip
import os
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent_sidecar.adapters.on_disk import sync
from agent_sidecar.domain.archived import recorded_of
from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, Lead
from agent_sidecar.errors import ArchiveFailed

T = TypeVar("T")

_PATTERN = "????-??.jsonl.gz"


class _Line(msgspec.Struct):
    call_id: CallId
    lead: Lead = msgspec.field(default_factory=Lead)


class ArchiveFiles:
    """`ports.Archives` in a folder, made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # one change at a time
        self._lock = asyncio.Lock()
        # the calls of a file, and its size when they were read
        self._known: dict[Path, tuple[int, set[CallId]]] = {}

    async def add(self, records: Sequence[CallRecord]) -> None:
        months: dict[str, list[CallRecord]] = defaultdict(list)
        for record in records:
            months[f"{record.started_at:%Y-%m}"].append(record)
        async with self._lock:
            for month, some in months.items():
                await _in_thread(self._add, self._folder / f"{month}.jsonl.gz", some)

    async def find(self, person: Person) -> Sequence[CallId]:
        return await _in_thread(lambda: [line.call_id for line in self._his(person)])

    async def remove(self, call_ids: Collection[CallId]) -> int:
        async with self._lock:
            return await _in_thread(self._remove, frozenset(call_ids))

    def _add(self, place: Path, records: Sequence[CallRecord]) -> None:
        new = {record.call_id: archived_line(record) for record in records}
        known = self._calls_in(place)
        if known.isdisjoint(new):
            # a large file is copied as it is: packing it again would take long
            _replace(place, new.values(), begin_with=place)
        else:
            former = (line for line in _lines(place) if _read(place, line).call_id not in new)
            _replace(place, chain(former, new.values()))
        self._known[place] = (place.stat().st_size, known | new.keys())

    def _calls_in(self, place: Path) -> set[CallId]:
        size = place.stat().st_size if place.exists() else 0
        known = self._known.get(place)
        if known is not None and known[0] == size:
            return known[1]
        return {_read(place, line).call_id for line in _lines(place)}

    def _his(self, person: Person) -> Iterator[_Line]:
        for place in self._files():
            lines = (_read(place, line) for line in _lines(place))
            yield from (line for line in lines if person.is_named(line.lead))

    def _remove(self, call_ids: frozenset[CallId]) -> int:
        gone = 0
        for place in self._files():
            in_it = [_read(place, line).call_id for line in _lines(place)]
            left = [call_id for call_id in in_it if call_id not in call_ids]
            gone += len(in_it) - len(left)
            if not left:
                place.unlink()
                sync(self._folder)
            elif len(left) < len(in_it):
                lines = _lines(place)
                _replace(place, (x for x in lines if _read(place, x).call_id not in call_ids))
        return gone

    def _files(self) -> Sequence[Path]:
        return sorted(self._folder.glob(_PATTERN))


def archived_line(record: CallRecord) -> bytes:
    """Return a line of a recorded-call file, with all else that the record says beside it."""
    recorded = recorded_of(record)
    # the vectors are in the segments already
    bare = tuple(replace(segment, vector=None) for segment in record.segments)
    line: Mapping[str, Any] = {
        "call_id": recorded.call_id,
        "started_at": recorded.started_at,
        "lead": recorded.lead,
        "model": recorded.model,
        "outcome": recorded.outcome,
        "segments": [
            {name: value for name, value in _fields(segment).items() if value is not None}
            for segment in recorded.segments
        ],
        "record": replace(record, segments=bare),
    }
    return msgspec.json.encode(line)


def _fields(value: Any) -> Mapping[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _lines(place: Path) -> Iterator[bytes]:
    if not place.exists():
        return
    with gzip.open(place, "rb") as file:
        yield from (line.rstrip(b"\n") for line in file if line.strip())


def _read(place: Path, line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as exc:
        raise ArchiveFailed(f"archive {place}: {exc}: mend it, or move it away") from exc


def _replace(place: Path, lines: Iterable[bytes], *, begin_with: Path | None = None) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        if begin_with is not None and begin_with.exists():
            with begin_with.open("rb") as former:
                shutil.copyfileobj(former, raw)
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb") as file:
            file.writelines(line + b"\n" for line in lines)
        raw.flush()
        os.fsync(raw.fileno())
    new.replace(place)
    sync(place.parent)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    try:
        return await asyncio.to_thread(work, *arguments)
    except (OSError, EOFError, zlib.error) as exc:
        raise ArchiveFailed(
            f"the archives cannot be read or written ({exc}): mend or move away what is damaged,"
            " make room, see who may write there"
        ) from exc
