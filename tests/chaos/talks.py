"""Conversations in which Kevin is wanted: his phone must not ring twice for one transfer."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any
from uuid import uuid4

import aiohttp

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.simulator.closer import Behaviour, CloserScript
from agent_sidecar.simulator.commands import DIAL
from agent_sidecar.simulator.delivery import DeliveryRules
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.player import CallPlayer, PlayRules
from tests.chaos.ledger import Told
from tests.chaos.world import World

_BEHAVIOURS: tuple[Behaviour, ...] = ("accepts", "accepts", "declines", "busy", "hangs_up")
_LENGTH_S = 5.0
_END_S = 180.0


class Talks:
    """Played calls of a human's length, one after the other, each with a transfer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ending = asyncio.Event()
        self._talking: list[asyncio.Task[None]] = []

    def begin(self, *, at_once: int) -> None:
        """Let people talk from now on."""
        for number in range(at_once):
            random = Random(f"{self._world.random.random()}:{number}")  # noqa: S311
            self._talking.append(asyncio.create_task(self._talk_on(random), name="talk"))

    async def end(self) -> None:
        """Let those who talk come to their end."""
        self._ending.set()
        if not self._world.service.is_running:
            await self._world.service.start()
        async with asyncio.timeout(_END_S):
            await asyncio.gather(*self._talking)

    def faults(self) -> list[str]:
        """Say whose phone rang twice."""
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        dialled = Counter(
            str(command.body.get("client_state"))
            for command in self._world.stub.commands
            if command.action == DIAL
        )
        for transfer, times in dialled.items():
            if times > 1:
                yield f"a closer's phone rang {times} times for one transfer ({transfer})"

    async def _talk_on(self, random: Random) -> None:
        async with FrontDoor(self._world.service.url) as door:
            while not self._ending.is_set():
                await self._talk(random, door)

    async def _talk(self, random: Random, door: FrontDoor) -> None:
        lines = (
            ("agent", "Let me get Kevin on the line."),
            ("prospect", "Great, I would like that."),
            ("prospect", "Good bye then."),
        )
        spoken = tuple(
            SpokenSegment(speaker=who, text=text, start_s=1.5 * n + 0.2, end_s=1.5 * n + 1.2)  # type: ignore[arg-type]
            for n, (who, text) in enumerate(lines)
        )
        person = f"+1202555{random.randrange(100, 199):04}"
        recorded = RecordedCall(
            call_id=f"talk-{uuid4().hex}", segments=spoken, lead=Lead(phone=person)
        )
        closer = CloserScript(
            behaviour=random.choice(_BEHAVIOURS), ring_s=0.3, detect_s=0.2, press_s=0.3, talk_s=1.0
        )
        rules = PlayRules(
            speed=1.0,
            mode="telnyx",
            source="live",
            closer=closer,
            delivery=DeliveryRules(window_s=150.0),
            patience_s=120.0,
        )
        player = CallPlayer(recorded, door, self._world.signer, rules, control=self._world.stub)
        told = self._world.ledger.open("transfer", player.played.leg_id)
        wanting = asyncio.create_task(self._want(player))
        played = await player.play()
        wanting.cancel()
        with suppress(asyncio.CancelledError):
            await wanting
        told.call_id = played.call_id
        self._note(told, player)

    def _note(self, told: Told, player: CallPlayer) -> None:
        played = player.played
        told.ended = not played.lost
        if played.error is not None and played.refused:
            self._world.row.faults.append(f"a talk went wrong: {played.error}")

    async def _want(self, player: CallPlayer) -> None:
        """Ask for the transfer as soon as the call is known, until it is taken."""
        while player.played.call_id is None:  # noqa: ASYNC110  # the player tells nobody
            await asyncio.sleep(0.05)
        url = f"{self._world.service.url}/v1/calls/{player.played.call_id}/transfer"
        async with aiohttp.ClientSession() as session:
            while True:
                status: Any = 0
                with suppress(aiohttp.ClientError, TimeoutError):
                    limit = aiohttp.ClientTimeout(total=4)
                    async with session.post(url, json={"by": "chaos"}, timeout=limit) as answer:
                        status = answer.status
                if 200 <= status < 500:
                    return
                await asyncio.sleep(0.3)
