"""The real front door on a free port, with the real registry and journal behind it, under nonsense.

Whatever comes in, each request has an answer that is right: 4xx only for what can never be right,
503 for our own trouble; nothing is logged as a defect, no task stays behind, and what is good in
between is served as if nothing had happened.
"""

import asyncio
import base64
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.adapters.telnyx_signature import SignatureCheck
from agent_sidecar.adapters.telnyx_wire import decode_frame, decode_webhook
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import JournalFailed
from agent_sidecar.live.hub import Hub
from agent_sidecar.ports import ReceivedWebhook
from agent_sidecar.web.server import FrontDoor, FrontDoorParts, Limits
from tests.domain.playbooks import a_playbook
from tests.flow.shell import Shell, running
from tests.flow.web_door import Archive, MadeUpCare, MadeUpInsights, learning, stores
from tests.fuzz.account import Account
from tests.fuzz.frames import RARE, START, Numbering, media
from tests.fuzz.nonsense import mutated, torn, written
from tests.fuzz.webhooks import VITAL, webhook

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = base64.b64encode(_KEY.public_key().public_bytes_raw()).decode()
# calls that are up at once
_CALLS = 6
_ANSWER_S = 10.0
_LIMITS = Limits(stop_s=0.5, frame_bytes=256 * 1024, malformed_frames=50)


class _Trouble:
    """Collects what is logged as a defect."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def note(self, _: object, level: str, event: Any) -> Any:
        """Take a log line; nothing of it is written."""
        if level in ("error", "critical", "exception") or event.get("exc_info"):
            trace = traceback.format_exc(limit=-4) if event.get("exc_info") else ""
            self._account.fail(f"logged: {event!r} {trace}"[:3000])
        raise structlog.DropEvent

    def unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what no task's owner has seen."""
        self._account.fail(f"unhandled: {context!r}"[:2000])


class _ShakyJournal(SqliteJournal):
    """Now and then cannot write a webhook."""

    random: Random | None = None

    async def receive(self, webhook: ReceivedWebhook) -> None:
        if self.random is not None and self.random.random() < 0.01:
            raise JournalFailed("the disk is full")
        await super().receive(webhook)


@dataclass(slots=True)
class _House:
    shell: Shell
    url: str
    client: aiohttp.ClientSession
    random: Random
    account: Account
    # of each leg's call
    tokens: dict[str, str] = field(default_factory=dict)
    legs: int = 0
    webhooks: int = 0

    def live_leg(self) -> str:
        """Return a leg of a call that is up, or of one that was."""
        live = [call.leg_id for call in self.shell.registry.live_calls() if call.leg_id]
        if live and self.random.random() < 0.9:
            return str(self.random.choice(live))
        return f"v3:fuzz-{self.random.randrange(max(1, self.legs))}"

    async def fill(self) -> None:
        """Open calls in place of those that have ended."""
        while len(self.shell.registry.live_calls()) < _CALLS:
            self.legs += 1
            leg_id = LegId(f"v3:fuzz-{self.legs}")
            status, answer = await self.send(
                "POST",
                f"/v1/calls/{quote(leg_id)}/attach",
                b'{"passive":%s,"source":"live"}' % self.random.choice((b"true", b"false")),
            )
            if status != 200:
                self.account.fail(f"attach: {status} {answer!r}")
                return
            self.tokens[leg_id] = answer["token"]
        live = {call.leg_id for call in self.shell.registry.live_calls()}
        self.tokens = {leg: token for leg, token in self.tokens.items() if leg in live}

    async def send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return status and answer, which must be JSON."""
        limit = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with self.client.request(
            method, self.url + path, data=body, headers=headers, timeout=limit
        ) as answer:
            return answer.status, await answer.json()


class DoorFuzz:
    """One seeded run; `folder` is where the journal lies."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = Random(seed)  # noqa: S311  # seeded on purpose
        self._folder = folder
        self.account = Account("front door")

    async def run(self, seconds: float) -> Account:
        """Throw for so long; return what came of it."""
        kept = structlog.get_config()
        trouble = _Trouble(self.account)
        structlog.configure(processors=[trouble.note])
        asyncio.get_running_loop().set_exception_handler(trouble.unhandled)
        try:
            async with self._open() as house:
                await self._throw(house, seconds)
                await self._check_after(house)
        finally:
            structlog.configure(**kept)
        self.account.end()
        return self.account

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[_House]:
        shell = Shell()
        journal = await _ShakyJournal.open(self._folder / "journal.sqlite3", clock=shell.clock)
        hub = Hub()
        shell.journal, shell.publisher = journal, hub  # type: ignore[assignment]
        try:
            async with running(shell), aiohttp.ClientSession() as client:
                door = FrontDoor(_parts(shell, hub))
                port = await door.start("127.0.0.1", 0)
                url = f"http://127.0.0.1:{port}"
                house = _House(shell, url, client, self._random, self.account)
                await house.fill()
                journal.random = self._random
                try:
                    yield house
                finally:
                    await door.aclose()
        finally:
            await journal.aclose()

    async def _throw(self, house: _House, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        # in turns, as a seed is worth nothing when many draw from it at once
        throws: tuple[Callable[[_House], Coroutine[Any, Any, None]], ...] = (
            *(_throw_webhook,) * 40,
            *(_throw_transcript,) * 10,
            _throw_at_hints,
            _throw_at_media,
        )
        warm = False
        while time.monotonic() < until_s:
            for throw in throws:
                await throw(house)
            await house.fill()
            # the fakes keep what they were asked, for tests that look
            house.shell.embedder.embedded.clear()
            house.shell.chroma.questions.clear()
            house.shell.neo4j.questions.clear()
            if not warm and time.monotonic() > until_s - seconds / 2:
                self.account.warm()
                warm = True

    async def _check_after(self, house: _House) -> None:
        status, _ = await house.send("GET", "/healthz", b"")
        if status != 200:
            self.account.fail(f"/healthz: {status}")
        # what hints and wrap-ups take at most
        await asyncio.sleep(1.0)
        names = [task.get_name() for task in asyncio.all_tasks()]
        strays = [n for n in names if n.startswith(("media:", "hints:", "embed:", "ask:"))]
        if strays:
            self.account.fail(f"tasks stay behind: {strays[:10]}")
        known = len(house.shell.registry.live_calls()) + house.legs
        if len(names) > 10 + 4 * known:
            self.account.fail(f"{len(names)} tasks for {known} calls")


def _parts(shell: Shell, hub: Hub) -> FrontDoorParts:
    return FrontDoorParts(
        registry=shell.registry,
        hub=hub,
        desk=shell.desk,
        leads=shell.leads,
        closers=shell.closers,
        closer_names=(shell.roster[0].name,),
        insights=MadeUpInsights(),
        lead_fields=a_playbook().lead_kind,
        stores=stores,
        care=MadeUpCare(),
        learning=learning,
        take_in=Archive().take_in,
        deliveries=shell.journal,
        hurry=lambda: None,
        metrics=shell.metrics,
        ready=lambda: (True, {}),
        decode_frame=decode_frame,
        decode_webhook=decode_webhook,
        signature=SignatureCheck(_PUBLIC, tolerance_s=300),
        api_token=None,
        forward_url=None,
        public_url=None,
        clock=shell.clock,
        limits=_LIMITS,
    )


# --- webhooks -------------------------------------------------------------------------------------


async def _throw_webhook(house: _House) -> None:
    random, account = house.random, house.account
    house.webhooks += 1
    now = house.shell.clock.now()
    number = house.webhooks if random.random() < 0.95 else random.randrange(house.webhooks)
    good = webhook(number, house.live_leg(), now.isoformat(), random)
    allowed = {200, 503}
    match random.randrange(10):
        case 0:
            raw, allowed = torn(written(good, random), random), {200, 400, 503}
        case 1 | 2:
            raw = written(good, Random(7))  # noqa: S311  # as Telnyx writes it
        case _:
            odd, path = mutated(good, random)
            raw = written(odd, Random(7))  # noqa: S311
            if path in VITAL:
                allowed = {200, 400, 503}
    headers = _signed(raw, int(now.timestamp()))
    if random.random() < 0.1:
        headers, allowed = _odd_headers(headers, random), {200, 400, 401, 503}
    began_s = time.perf_counter()
    try:
        status, answer = await house.send("POST", "/telnyx/webhooks", raw, headers)
    except (aiohttp.ClientError, TimeoutError) as exc:
        account.fail(f"webhook {raw[:600]!r} {headers!r}: {exc!r}")
        return
    account.note(f"webhook {status}", time.perf_counter() - began_s)
    if status not in allowed:
        account.fail(f"webhook {raw[:1500]!r}: {status} {answer!r}")
    if len(str(answer)) > 1000:
        account.fail(f"an answer of {len(str(answer))} characters to {raw[:300]!r}")


def _signed(raw: bytes, timestamp: int) -> dict[str, str]:
    said = str(timestamp)
    signature = _KEY.sign(said.encode() + b"|" + raw)
    return {
        "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        "telnyx-timestamp": said,
        "content-type": "application/json",
    }


def _odd_headers(headers: dict[str, str], random: Random) -> dict[str, str]:
    name = random.choice(list(headers))
    odd = random.choice(
        ("", "x", "0", "-1", "9" * 400, "1e9", "%%", "AAAA" * 500, "\u00e4", "\u0661\u0662", "NaN")
    )
    changed = {**headers, name: odd}
    if random.random() < 0.3:
        del changed[name]
    if random.random() < 0.2:
        changed["x-forwarded-for"] = "1.2.3.4, " * 300
    return changed


# --- lines ----------------------------------------------------------------------------------------

_LINE: dict[str, Any] = {
    "speaker": "prospect",
    "text": "that is too expensive",
    "is_final": True,
    "confidence": 0.9,
    "at": "2026-03-02T15:00:00Z",
}


async def _throw_transcript(house: _House) -> None:
    random, account = house.random, house.account
    leg_id = house.live_leg() if random.random() < 0.9 else random.choice(("x", "\x00", "ä/ö", "%"))
    said = _LINE if random.random() < 0.3 else mutated(_LINE, random)[0]
    raw = written(said, random) if random.random() < 0.9 else torn(written(said, random), random)
    path = f"/v1/calls/{quote(leg_id, safe='')}/transcript"
    began_s = time.perf_counter()
    try:
        status, answer = await house.send("POST", path, raw)
    except (aiohttp.ClientError, TimeoutError) as exc:
        account.fail(f"{path} {raw[:600]!r}: {exc!r}")
        return
    account.note(f"transcript {status}", time.perf_counter() - began_s)
    if status not in {200, 400, 404, 409}:
        account.fail(f"{path} {raw[:600]!r}: {status} {answer!r}")


_MESSAGES: tuple[dict[str, Any], ...] = (
    {"type": "feedback", "hint_id": "call-1:1", "action": "used"},
    {"type": "transcript", "call_control_id": "LEG", **_LINE},
    {"type": "transcript", "call_id": "none", **_LINE},
)


async def _throw_at_hints(house: _House) -> None:
    """Talk nonsense on a hints socket; at its end it must still take a good line."""
    random, account = house.random, house.account
    url = f"{house.url}/v1/hints" + random.choice(("", "?call=x", "?call=%00", "?call="))
    async with house.client.ws_connect(url) as socket:
        for _ in range(random.randrange(1, 15)):
            said = {**random.choice(_MESSAGES)}
            if said.get("call_control_id"):
                said["call_control_id"] = house.live_leg()
            odd, _ = mutated(said, random)
            raw = written(odd, random)
            if random.random() < 0.2:
                raw = torn(raw, random)
            if random.random() < 0.05:
                await socket.send_bytes(raw)
            else:
                await socket.send_str(raw.decode("utf-8", "replace"))
            account.note("hints message")
        await socket.send_str('{"type":"feedback"}')
        if not await _is_answered(socket):
            account.fail("the hints socket answers no more")


async def _is_answered(socket: aiohttp.ClientWebSocketResponse) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and '"hint_id"' in message.data:
                    return True
    except TimeoutError:
        return False
    return False


# --- media ----------------------------------------------------------------------------------------


async def _throw_at_media(house: _House) -> None:
    """Send nonsense on a media socket, with a right to be there or without."""
    random, account = house.random, house.account
    has_token = random.random() < 0.8
    leg_id = house.live_leg()
    token = house.tokens.get(leg_id, "stale")
    url = f"{house.url}/telnyx/media" + (f"?token={token}" if has_token else "")
    opening = {**START, "start": {**START["start"], "call_control_id": leg_id}}
    encoding, rate_hz = random.choice((("PCMU", 8000), ("L16", 16_000), ("OPUS", 48_000)))
    opening["start"]["media_format"] = {"encoding": encoding, "sample_rate": rate_hz}
    numbering = Numbering(random)
    async with house.client.ws_connect(url, autoping=True) as socket:
        with_odd_start = random.random() < 0.3
        first, _ = mutated(opening, random) if with_odd_start else (opening, ())
        frames = [written(first, random) if with_odd_start else written(opening, Random(7))]  # noqa: S311
        for _ in range(random.randrange(200)):
            good = media(random.choice(("inbound", "outbound")), numbering.next(), b"\x00" * 160)
            good = good if random.random() < 0.7 else random.choice(RARE)
            odd, _ = mutated(good, random) if random.random() < 0.3 else (good, ())
            raw = written(odd, random)
            frames.append(torn(raw, random) if random.random() < 0.1 else raw)
        for raw in frames:
            if socket.closed:
                break
            try:
                await socket.send_str(raw.decode("utf-8", "replace"))
            except aiohttp.ClientError:
                break
            account.note("media frame")
        if random.random() < 0.5 and not socket.closed:
            account.note(f"media closed {await _closed(socket)}")


async def _closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    try:
        await socket.send_str('{"event":"stop"}')
        async with asyncio.timeout(0.5):
            async for _ in socket:
                pass
    except (aiohttp.ClientError, TimeoutError):
        pass
    return socket.close_code
