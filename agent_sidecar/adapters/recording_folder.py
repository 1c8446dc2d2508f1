"""The copies of recorded calls as files that can be forgotten; a call's begin with its id."""

import asyncio
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from agent_sidecar.domain.types import CallId

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class RecordingFolder:
    """`ports.RecordingFolder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def of_calls(self, call_ids: Collection[CallId]) -> Sequence[str]:
        return await asyncio.to_thread(self._of_calls, call_ids)

    async def forget(self, names: Collection[str]) -> int:
        return await asyncio.to_thread(self._forget, names)

    def _of_calls(self, call_ids: Collection[CallId]) -> Sequence[str]:
        if not self._folder.is_dir():
            return ()
        starts = tuple(_UNSAFE.sub("_", call_id) + "_" for call_id in call_ids)
        # one that is being copied too
        names = (place.name for place in self._folder.iterdir() if place.is_file())
        return sorted(name for name in names if name.removeprefix(".").startswith(starts))

    def _forget(self, names: Collection[str]) -> int:
        gone = 0
        for name in names:
            place = self._folder / Path(name).name
            gone += place.is_file()
            place.unlink(missing_ok=True)
        return gone
