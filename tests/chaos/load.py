"""Calls without end through the front door: short ones, many at once, told as Telnyx tells them.

Whatever has no answer, or a 5xx, is sent again with the same id, as Telnyx does, until it is taken;
the API's lines are not, since they have no id: they may be there afterwards, or not.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp

from agent_sidecar.simulator.legs import CONNECTION_ID, OUR_NUMBER
from agent_sidecar.simulator.signing import WebhookSigner
from tests.chaos.ledger import Ledger, Told

LINES = (
    ("agent", "Hi, this is Alex, thanks for taking my call today."),
    ("prospect", "Sure, what is this about?"),
    ("prospect", "Wait, is this one of those pyramid schemes?"),
    ("agent", "Fair question. Let me show you how it works before you decide anything."),
    ("prospect", "How much does it cost? I have been burned before."),
    ("agent", "What would an extra thousand a month change for you?"),
    ("prospect", "That sounds great, I would love to hear more about it."),
    ("prospect", "I need to talk to my wife about this first."),
    ("agent", "Let me get Kevin on the line, he can answer that."),
    ("prospect", "Honestly I don't have the money right now."),
)
OUTCOMES = ("video_sent", "follow_up", "disqualified", "abandoned", "hot_transfer")
# people who are called more than once: their leads are shared
_PEOPLE = 60
_TRACKS = {"prospect": "inbound", "agent": "outbound"}
_BACK_OFF_S = (0.1, 0.6)
# an answer that takes longer is none, as for Telnyx
_ANSWER_S = 4.0


class Load:
    """So many callers at once, until `finish`; each plays one call after the other."""

    def __init__(
        self, url: str, signer: WebhookSigner, ledger: Ledger, *, at_once: int, seed: int
    ) -> None:
        self.ledger = ledger
        # chance that a call that was over is corrected by a person
        self.corrected = 0.3
        # statuses that are no last word: 401 while a clock is wrong
        self.again_after: set[int] = {408, 429}
        # what was answered that never should be
        self.refusals: list[str] = []
        self._url = url
        self._signer = signer
        self._at_once = at_once
        self._seed = seed
        self._finishing = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Call until `finish`, then end the calls that are up."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session,
            asyncio.TaskGroup() as callers,
        ):
            for number in range(self._at_once):
                # the same calls for the same seed, as far as the machine lets them be
                random = Random(f"{self._seed}:{number}")  # noqa: S311
                callers.create_task(self._call_on(random), name=f"caller:{number}")

    def finish(self) -> None:
        """Begin no further call."""
        self._finishing.set()

    async def _call_on(self, random: Random) -> None:
        await asyncio.sleep(random.uniform(0, 2))
        while not self._finishing.is_set():
            kind = random.choices(("webhooks", "api", "import"), (70, 20, 10))[0]
            with suppress(_Refused):  # it is among the refusals
                if kind == "import":
                    await self._import(random)
                else:
                    await self._call(random, by_api=kind == "api")
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.1, 1.5)):
                    await self._finishing.wait()

    async def _call(self, random: Random, *, by_api: bool) -> None:
        leg_id = f"v3:chaos-{_hex(random)}"
        told = self.ledger.open("api" if by_api else "webhooks", leg_id)
        person = random.randrange(_PEOPLE)
        body = {"passive": True, "lead": {"phone": _number(person), "first_name": "Ann"}}
        attached = await self._surely("attach", f"/v1/calls/{quote(leg_id, safe='')}/attach", body)
        told.call_id = attached["call_id"]
        to = _number(person)
        await self._tell(random, leg_id, to, "call.answered", state="answered")
        for number in range(random.randint(1, 5)):
            speaker, words = random.choice(LINES)
            # each line is known again by its number
            text = f"{words} So much for point {number}."
            if by_api:
                await self._say(told, speaker, text)
            else:
                await self._tell(random, leg_id, to, "call.transcription", **_said(speaker, text))
                told.lines.append(text)
            await asyncio.sleep(random.uniform(0.1, 0.7))
        ended = {"hangup_cause": "normal_clearing", "hangup_source": "callee", "state": "hangup"}
        await self._tell(random, leg_id, to, "call.hangup", **ended)
        told.ended = True
        if random.random() < self.corrected:
            await self._correct(random, told)

    async def _correct(self, random: Random, told: Told) -> None:
        """Say how it ended, once or twice, soon or later."""
        for _ in range(random.randint(1, 2)):
            await asyncio.sleep(random.uniform(0.0, 1.5))
            status = random.choice(OUTCOMES)
            path = f"/v1/calls/{told.call_id}/outcome"
            await self._surely("outcome", path, {"final_status": status})
            told.outcomes.append(status)

    async def _say(self, told: Told, speaker: str, text: str) -> None:
        """Post a line as an agent with his own recogniser does: once."""
        path = f"/v1/calls/{told.call_id}/transcript"
        status, answer = await self._post(path, _json({"speaker": speaker, "text": text}))
        self._count("transcript", status)
        if status == 200:
            told.lines.append(text)
        elif status == 0 or status >= 500:
            told.doubtful.append(text)
        elif status != 404:  # the call was closed meanwhile
            self._refuse("transcript", status, answer)

    async def _import(self, random: Random) -> None:
        call_id = f"import-{_hex(random)}"
        told = self.ledger.open("import", call_id)
        lines = [random.choice(LINES) for _ in range(random.randint(1, 4))]
        spoken = [
            {"speaker": speaker, "text": f"{text} {n}", "start_s": 4.0 * n, "end_s": 4.0 * n + 3}
            for n, (speaker, text) in enumerate(lines)
        ]
        call = {
            "call_id": call_id,
            "segments": spoken,
            "lead": {"phone": _number(random.randrange(_PEOPLE))},
            "outcome": {"success": random.random() < 0.5},
        }
        for _ in range(random.randint(1, 2)):  # twice is once
            await self._surely("import", "/v1/import", {"call": call})
            told.call_id = call_id
            told.lines = [str(segment["text"]) for segment in spoken]
            told.ended = True

    async def _tell(
        self, random: Random, leg_id: str, to: str, event: str, **payload: object
    ) -> None:
        """Post a webhook until it is taken, signed anew each time."""
        leg = {
            "call_control_id": leg_id,
            "call_leg_id": f"leg-{leg_id[-12:]}",
            "call_session_id": f"session-{leg_id[-12:]}",
            "connection_id": CONNECTION_ID,
            "from": OUR_NUMBER,
            "to": to,
        }
        told = {
            "record_type": "event",
            "event_type": event,
            "id": str(UUID(_hex(random))),
            "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "payload": {**leg, **payload},
        }
        body = _json({"data": told, "meta": {"attempt": 1, "delivered_to": self._url}})
        await self._surely(event, "/telnyx/webhooks", body)
        if random.random() < 0.05:  # Telnyx says a thing twice now and then
            await self._surely(event, "/telnyx/webhooks", body)

    async def _surely(self, what: str, path: str, body: object) -> Any:
        """Post until it is taken; a refusal is noted, and ends it."""
        raw = body if isinstance(body, bytes) else _json(body)
        random = Random(raw)  # noqa: S311  # spreads those that were refused together
        while True:
            status, answer = await self._post(path, raw)
            self._count(what, status)
            if 200 <= status < 300:
                return answer
            if status and status < 500 and status not in self.again_after:
                self._refuse(what, status, answer)
                raise _Refused
            await asyncio.sleep(random.uniform(*_BACK_OFF_S))

    async def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        """Return status and answer; 0: there was none."""
        assert self._session is not None
        headers: Mapping[str, str] = {"Content-Type": "application/json"}
        if path == "/telnyx/webhooks":
            headers = self._signer.headers(body, timestamp=int(time.time()))
        limit = aiohttp.ClientTimeout(total=30.0 if path == "/v1/import" else _ANSWER_S)
        try:
            async with self._session.post(
                self._url + path, data=body, headers=headers, timeout=limit
            ) as answer:
                raw = await answer.read()
                return answer.status, json.loads(raw) if raw.startswith(b"{") else raw
        except (aiohttp.ClientError, TimeoutError):
            return 0, None

    def _count(self, what: str, status: int) -> None:
        self.ledger.answers[f"{what} {status or 'no answer'}"] += 1

    def _refuse(self, what: str, status: int, answer: object) -> None:
        self.refusals.append(f"{what} was answered {status}: {answer}")


class _Refused(Exception):
    """Ends a call that the service wants nothing more of."""


def _number(person: int) -> str:
    # 0100 to 0199 are reserved for fiction
    return f"+1202555{100 + person:04}"


def _said(speaker: str, text: str) -> dict[str, object]:
    said = {
        "transcript": text,
        "is_final": True,
        "confidence": 0.95,
        "transcription_track": _TRACKS[speaker],
    }
    return {"transcription_data": said}


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


def _hex(random: Random) -> str:
    return f"{random.getrandbits(128):032x}"
