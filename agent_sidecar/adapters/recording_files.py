"""Copies recordings from the provider's links, which soon expire, into a folder of ours.

A copy appears under its name only when all of it is on disk; what was cut off leaves nothing.
"""

import asyncio
import os
import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import aiohttp

from agent_sidecar.errors import RecordingRefused, RecordingUnavailable

# a leg lasts four hours at most: 460 MB in two channels of 16 bits at 8 kHz
LARGEST_BYTES: Final = 1_000_000_000
# one wait for the disk each
_CHUNK_BYTES: Final = 1 << 20
_CONNECT_S, _SILENT_S = 10.0, 30.0
# the same link will not give it later
_FOR_GOOD: Final = frozenset({400, 401, 403, 404, 410})
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_EXTENSIONS: Final = frozenset({".wav", ".mp3"})


class RecordingFiles:
    """`ports.Recordings` in a folder, made when it is needed; `aclose` it."""

    def __init__(self, folder: Path, *, loopback: bool = False, largest: int = LARGEST_BYTES):
        """`loopback`: links of this machine are followed too, as a stub of Telnyx gives them."""
        self._folder = folder
        self._loopback = loopback
        self._largest = largest
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def keep(self, url: str, name: str) -> str:
        """Copy what the link gives; return where, from the data folder on.

        The same name is the same copy, made once. Raises `RecordingUnavailable` (try again) or
        `RecordingRefused` (do not).
        """
        target = self._folder / (_UNSAFE.sub("_", name) + _extension(url))
        place = f"{self._folder.name}/{target.name}"
        if await asyncio.to_thread(target.exists):
            return place
        self._check(url)
        part = target.with_name(f".{target.name}.part")
        try:
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
            await self._download(url, part)
            await asyncio.to_thread(os.replace, part, target)
        except OSError as exc:
            raise RecordingUnavailable(f"the recording cannot be written: {exc.strerror}") from exc
        finally:
            with suppress(OSError):
                # at once, also when we are cancelled
                part.unlink(missing_ok=True)
        return place

    def _check(self, url: str) -> None:
        """Refuse what a stranger might have us fetch from our own network, unencrypted."""
        link = urlsplit(url)
        if link.scheme == "https" and not _is_address(link.hostname):
            return
        if self._loopback and link.scheme == "http" and link.hostname == "127.0.0.1":
            return
        raise RecordingRefused(f"a recording's link must be https to a name, not to {link.netloc}")

    async def _download(self, url: str, part: Path) -> None:
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_read=_SILENT_S)
            self._session = aiohttp.ClientSession(timeout=limits)
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    refused = answer.status in _FOR_GOOD
                    raise (RecordingRefused if refused else RecordingUnavailable)(
                        f"the recording's link answers {answer.status}"
                    )
                await self._write(answer, part)
        except (aiohttp.ClientError, TimeoutError) as exc:
            # not its text: that has the link, and whoever has the link has the recording
            raise RecordingUnavailable(f"the recording broke off: {type(exc).__name__}") from exc

    async def _write(self, answer: aiohttp.ClientResponse, part: Path) -> None:
        written = 0
        file = await asyncio.to_thread(_open_private, part)
        try:
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                written += len(chunk)
                if written > self._largest:
                    raise RecordingRefused(f"the recording is larger than {self._largest} bytes")
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(_flush, file)
        finally:
            file.close()


def _open_private(part: Path) -> IO[bytes]:
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _extension(url: str) -> str:
    suffix = Path(urlsplit(url).path).suffix.lower()
    return suffix if suffix in _EXTENSIONS else ".wav"


def _is_address(host: str | None) -> bool:
    try:
        ip_address(host or "")
    except ValueError:
        return not host or host == "localhost"
    return True
