"""The service's front door as a stranger's client sees it: plain HTTP and WebSocket."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

Found = TypeVar("Found")
STORES = ("conversations", "postgres", "neo4j", "chroma")
_POLL_S = 0.1


async def eventually(
    ask: Callable[[], Awaitable[Found | None]], *, within_s: float = 30.0
) -> Found:
    """Ask until there is something; what is awaited happens in another process."""
    give_up_at = time.monotonic() + within_s
    while True:
        found = await ask()
        if found:
            return found
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {ask.__qualname__}"
        await asyncio.sleep(_POLL_S)


class Api:
    """A client of one service; open it with `async with`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the answer; raises `aiohttp.ClientError` when there is none."""
        assert self._session is not None, "open it with `async with`"
        limit = aiohttp.ClientTimeout(total=30)
        async with self._session.request(
            method,
            self.url + path,
            data=body,
            headers={**self._headers, **(headers or {})},
            timeout=limit,
        ) as answer:
            raw = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(raw) if is_json else raw.decode()

    async def get(self, path: str) -> Any:
        """Return the answer, which must be a good one."""
        status, answer = await self.send("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    async def post(self, path: str, body: object = None) -> tuple[int, Any]:
        """Post JSON."""
        return await self.send("POST", path, body=json.dumps(body or {}).encode())

    async def attach(self, leg_id: str, **announcement: object) -> Any:
        """Announce a call; return the answer."""
        status, answer = await self.post(f"/v1/calls/{quote(leg_id, safe='')}/attach", announcement)
        assert status == 200, (status, answer)
        return answer

    async def call(self, name: str) -> Any:
        """Return a call by its call_id or by a live leg's call_control_id."""
        return await self.get(f"/v1/calls/{quote(name, safe='')}")

    async def texts(self, name: str) -> list[str]:
        """Return what was said in a call."""
        return [segment["text"] for segment in (await self.call(name))["segments"]]

    async def finished(self, call_id: str, *, within_s: float = 30.0) -> Any:
        """Return the call once its record is there."""

        async def look() -> Any:
            view = await self.call(call_id)
            return view if view["state"] == "finished" else None

        return await eventually(look, within_s=within_s)

    async def delivered(self, call_id: str, stores: tuple[str, ...] = STORES) -> Any:
        """Return the call once these stores have its record."""

        async def look() -> Any:
            view = await self.call(call_id)
            there = view["state"] == "finished" and all(
                view["stores"].get(store) == "delivered" for store in stores
            )
            return view if there else None

        return await eventually(look)

    async def is_clean(self) -> bool:
        """Say whether every store holds every record."""
        return bool((await self.get("/v1/verify"))["clean"])


class Listener:
    """Hears the hints socket, with a client library that the service does not use."""

    def __init__(self, api: Api) -> None:
        self._url = "ws" + api.url.removeprefix("http") + "/v1/hints"
        self.messages: list[Mapping[str, Any]] = []
        self._listening: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._open = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen(), name="listener")
        async with asyncio.timeout(10):
            await self._open.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    async def hint(self, call_id: str) -> Mapping[str, Any]:
        """Return the first hint of a call, once it is there."""

        async def look() -> Mapping[str, Any] | None:
            hints = (m for m in self.messages if m["type"] == "hint" and m["call_id"] == call_id)
            return next(hints, None)

        return await eventually(look, within_s=10)

    async def say(self, **message: object) -> None:
        """Say something to the service."""
        assert self._socket is not None, "open it with `async with`"
        await self._socket.send(json.dumps(message))

    async def _listen(self) -> None:
        async with connect(self._url, proxy=None) as socket:
            self._socket = socket
            self._open.set()
            async for message in socket:
                self.messages.append(json.loads(message))
