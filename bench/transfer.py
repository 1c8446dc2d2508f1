"""Many calls that want the closer in the same second: who gets him, how fast, and the others.

    python bench/transfer.py [--rounds 100] [--candidates 200] [--within 1.0] [--quick] [--json]

The whole service on its embedded stack, with Telnyx played by this bench. In each round a transfer
is asked for in every call within a second, through the front door. From the decision
(`initiated_at`) to the dial command at Telnyx are the check whether the closer is free, his lease
and the journal's write; what the others wait for the second best counts from their request. The
closer takes the call, is bridged, and hangs up, and so does the prospect, for whom another one
comes; now and then everybody hangs up, because a call is given the second best once.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import uvloop

from agent_sidecar.commands.running import started_service
from agent_sidecar.domain.types import LegId
from agent_sidecar.settings import read_settings
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import CONNECTION_ID, OUR_NUMBER
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.subscriber import HintSubscriber
from bench._report import Document, document, parser, percentiles_ms, positive, screen, tell
from bench._service import service_environment
from bench._switchboard import Switchboard

LABELS = {
    "rounds": "rounds",
    "candidates": "calls that want him, in each",
    "bridged": "prospects who got him",
    "double_bridged": "while he talked to somebody else",
    "p50_ms": "decision to dial command, p50 ms",
    "p99_ms": "  p99 ms",
    "asked_p50_ms": "transfer asked for to dial command, p50 ms",
    "asked_p99_ms": "  p99 ms",
    "others": "calls that were told for the first time that he is taken",
    "second_best": "  of them with a second-best hint",
    "second_best_p50_ms": "transfer asked for to that hint, p50 ms",
    "second_best_p99_ms": "  p99 ms",
    "second_best_max_ms": "  max ms",
}
CLOSER_NUMBER = "+12125550101"
# a round that is not over by then has failed
_ROUND_S = 30.0
# within which a call that hung up has its record
_GRACE_S = 4.0
# rounds after which all calls are other ones
_FRESH = 10


def main() -> None:
    given = arguments()
    if given.quick:
        given.rounds, given.candidates = min(given.rounds, 5), min(given.candidates, 20)
    load = {
        "quick": given.quick,
        "rounds": given.rounds,
        "candidates": given.candidates,
        "within_s": given.within,
    }
    said = document("transfer", load, "aiohttp", "uvloop", "redis", "telnyx")
    tell(said | uvloop.run(_measure(given)), LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="5 rounds of 20 calls")
    made.add_argument("--rounds", type=positive, default=100)
    made.add_argument("--candidates", type=positive, default=200, help="calls that want him")
    made.add_argument("--within", type=float, default=1.0, help="seconds; 0: all at once")
    return made.parse_args(given)


class _Heard:
    """What the hints socket told in this round, by the prospect's leg."""

    def __init__(self) -> None:
        self.hint_at: dict[LegId, float] = {}
        self.ended: dict[LegId, str] = {}

    def hear(self, message: Mapping[str, Any]) -> None:
        leg_id = LegId(str(message.get("call_control_id")))
        if message["type"] == "hint":
            self.hint_at.setdefault(leg_id, time.monotonic())
        elif message["type"] == "transfer" and message["step"] == "ended":
            self.ended[leg_id] = str(message["outcome"])


class _Rounds:
    def __init__(self, board: Switchboard, door: FrontDoor, web: aiohttp.ClientSession) -> None:
        self.dial_s: list[float] = []
        self.asked_s: list[float] = []
        self.hint_s: list[float] = []
        self.others = 0
        self.heard = _Heard()
        self._board = board
        self._door = door
        self._web = web
        self._up: set[LegId] = set()
        # who was told of the second best already
        self._told: set[LegId] = set()

    async def fill(self, candidates: int) -> None:
        """Have so many calls up."""
        while len(self._up) < candidates:
            leg = self._board.prospect()
            await self._door.attach(leg.leg_id, {"agent": "assistant"})
            await self._board.tell(webhooks.call_answered(leg, leg.started_at))
            self._up.add(leg.leg_id)

    async def play(self, within_s: float) -> None:
        """Ask for a transfer in all of them within this time, and wait until everybody knows."""
        self.heard.hint_at.clear()
        self.heard.ended.clear()
        self._board.dialed_at.clear()
        asked_at = time.monotonic()
        sent = dict(await asyncio.gather(*(self._ask(leg_id, within_s) for leg_id in self._up)))
        async with asyncio.timeout(_ROUND_S):
            while not self._is_over():  # noqa: ASYNC110  # what is awaited is in another process
                await asyncio.sleep(0.01)
            for leg_id, at in self._board.dialed_at.items():
                self.asked_s.append(at - sent[leg_id])
                self.dial_s.append(at - await self._decided_at(leg_id))
            await self._board.hang_up_closers()
            winners = set(self._board.dialed_at)
            while not all(self.heard.ended.get(leg) == "bridged" for leg in winners):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await self._closer_is_free()
        losers = self._up - winners - self._told
        self.others += len(losers)
        for leg_id in losers & self.heard.hint_at.keys():
            self.hint_s.append(self.heard.hint_at[leg_id] - sent[leg_id])
        self._told |= losers
        await self.leave(winners)
        screen.print(f"[dim]{time.monotonic() - asked_at:.2f} s[/]", end=" ")

    async def settle(self) -> None:
        """Wait until every record is in every store."""
        await asyncio.sleep(_GRACE_S)
        while any(row["deliveries"]["pending"] for row in await self._door.stores()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    async def leave(self, legs: Collection[LegId] | None = None) -> None:
        """Let these prospects hang up; None: all."""
        gone = set(self._up if legs is None else legs)
        await asyncio.gather(*(self._leave(leg_id) for leg_id in gone))
        self._up -= gone

    def _is_over(self) -> bool:
        lost = sum(outcome == "unavailable" for outcome in self.heard.ended.values())
        return bool(self._board.bridged & self._up) and lost >= len(self._up) - 1

    async def _ask(self, leg_id: LegId, within_s: float) -> tuple[LegId, float]:
        await asyncio.sleep(random.uniform(0.0, within_s))  # noqa: S311  # no secret
        sent = time.monotonic()
        path = f"/v1/calls/{quote(leg_id, safe='')}/transfer"
        async with self._web.post(path, json={"by": "bench"}) as answer:
            if answer.status != 202:
                raise SystemExit(f"no result: {await answer.text()}")
        return leg_id, sent

    async def _decided_at(self, leg_id: LegId) -> float:
        """Return when the transfer began, by our monotonic clock."""
        async with self._web.get(f"/v1/calls/{quote(leg_id, safe='')}") as answer:
            attempt = (await answer.json())["transfers"][-1]
        at = datetime.fromisoformat(attempt["initiated_at"]).timestamp()
        return at - time.time() + time.monotonic()

    async def _closer_is_free(self) -> None:
        while True:
            async with self._web.get("/v1/availability") as answer:
                if (await answer.json())["closers"][0]["available"]:
                    return
            await asyncio.sleep(0.01)

    async def _leave(self, leg_id: LegId) -> None:
        leg = self._board.leg(leg_id)
        leg.state = "ended"
        await self._board.tell(
            webhooks.call_hangup(leg, leg.started_at, cause="normal_clearing", source="callee")
        )


async def _measure(given: argparse.Namespace) -> Document:
    signer = WebhookSigner.generate()
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        board = await exits.enter_async_context(Switchboard(signer).open())
        environment = service_environment(folder, signer) | {
            "SIDECAR_TELNYX_API_KEY": "bench",
            "SIDECAR_TELNYX_API_BASE": f"http://127.0.0.1:{board.port}/v2",
            "SIDECAR_TELNYX_CONNECTION_ID": CONNECTION_ID,
            "SIDECAR_CLOSER_NUMBER": CLOSER_NUMBER,
            "SIDECAR_CALLER_NUMBER": OUR_NUMBER,
            "SIDECAR_CLOSER_WRAP_UP_S": "0",
        }
        running = started_service(
            read_settings(data_dir=folder / "data"), environment, log_file=folder / "service.log"
        )
        service = await exits.enter_async_context(running)
        board.door = door = await exits.enter_async_context(FrontDoor(service.url))
        connector = aiohttp.TCPConnector(limit=0)
        web = await exits.enter_async_context(
            aiohttp.ClientSession(service.url, connector=connector)
        )
        played = _Rounds(board, door, web)
        subscriber = HintSubscriber(door, played.heard.hear)
        hints = asyncio.create_task(subscriber.run(), name="hints")
        async with asyncio.timeout(10):
            await subscriber.open.wait()
        for number in range(given.rounds):
            if number % _FRESH == 0:
                await played.leave()
                # what it costs to store so many calls at once is not what is measured
                await played.settle()
            await played.fill(given.candidates)
            await played.play(given.within)
        hints.cancel()
        screen.print()
    return {
        "bridged": len(board.bridged),
        "double_bridged": board.double_bridged,
        **percentiles_ms("", played.dial_s, 50, 99),
        **percentiles_ms("asked_", played.asked_s, 50, 99),
        "others": played.others,
        "second_best": len(played.hint_s),
        **percentiles_ms("second_best_", played.hint_s, 50, 99),
        "second_best_max_ms": round(max(played.hint_s) * 1000, 2) if played.hint_s else None,
    }


if __name__ == "__main__":
    main()
