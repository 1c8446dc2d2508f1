"""The calls of a day: who calls, what is said, how it ends, and what the network does to it.

The legs, webhooks and commands are the simulator's; audio comes from the process of `_feed.py`, in
the place of the simulator's own sockets, which cost more than the service that is measured.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import ServiceUnreachable
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.closer import Behaviour, CloserScript
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.delivery import Adversity, DeliveryRules, Fate, WebhookLane
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import SimulatedLeg, prospect_leg
from agent_sidecar.simulator.media import StreamOrder, StreamRules
from agent_sidecar.simulator.pace import ConversationClock
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.telephone import SimulatedCall, require_answered
from agent_sidecar.simulator.transcript import HeardLine
from bench._feed import FrameFeed
from bench._talk import Account, Final, script

# how calls are to end, of a hundred; of those that ask for the closer he takes six of ten
_ENDS = {
    "hot_transfer": 12,
    "video_sent": 15,
    "follow_up": 25,
    "disqualified": 20,
    "no_answer": 10,
    "abandoned": 18,
}
_CLOSERS: Mapping[Behaviour, int] = {"accepts": 6, "declines": 2, "voicemail": 1, "no_answer": 1}
_POSTED = ("video_sent", "follow_up")
_SHORTEST_S, _LONGEST_S = 20.0, 60.0
# the prospect's lines come so far apart, the agent's in the middle
_TURN_S = 6.0
_INTERIMS = ((1.5, 0.35), (1.0, 0.7), (0.5, 1.0))
# of a webhook: how late at most, and the chance that it comes twice
_LATE_S, _REPEAT = 0.3, 0.05
_AGENT_SAYS = (
    "Thank you for taking the time, how is your day going so far?",
    "What would you do with an extra hundred dollars a day?",
    "Most people we talk to felt the same before they had seen how it works.",
    "It is about two hours in the evening, and you can begin whenever you like.",
    "That is what everybody asks first, and I am glad that you did.",
    "Let me ask you this: what is it that you would want to change first?",
)
_GOODBYE = "I am really not interested, take me off your list and do not call me again."
_PATIENCE_S = 90.0
_ANSWERED_WITHIN_S = 20.0


@dataclass(slots=True, kw_only=True)
class Plan:
    """One call before it is made."""

    number: int
    # seconds after the start of the day
    begins_s: float
    lasts_s: float
    ends: str
    behaviour: Behaviour
    seed: int


@dataclass(slots=True, kw_only=True)
class Told:
    """What became of the calls, as Telnyx sees it."""

    account: Account = field(default_factory=Account)
    # of every call that was announced, and how it was to end
    legs: dict[LegId, str] = field(default_factory=dict)
    # our id by leg, for those that the service took
    taken: dict[LegId, str] = field(default_factory=dict)
    # what went wrong, by what it was
    troubles: Counter[str] = field(default_factory=Counter)
    up: int = 0
    most_up: int = 0
    retries: int = 0
    repeats: int = 0
    webhooks: int = 0
    transfers_asked: int = 0
    # monotonic
    last_hangup_at: float = 0.0


def plan_day(calls: int, seconds: float, seed: int) -> list[Plan]:
    """Return the calls of a day in the order of their beginning; a seed gives the same day."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    plans = []
    latest_s = max(1.0, seconds - (_SHORTEST_S + _LONGEST_S) / 2)
    for number in range(calls):
        [ends] = chance.choices(list(_ENDS), weights=list(_ENDS.values()))
        [behaviour] = chance.choices(list(_CLOSERS), weights=list(_CLOSERS.values()))
        plans.append(
            Plan(
                number=number,
                begins_s=(number + chance.random()) / calls * latest_s,
                lasts_s=chance.uniform(_SHORTEST_S, _LONGEST_S),
                ends=ends,
                behaviour=behaviour,
                seed=chance.getrandbits(32),
            )
        )
    return sorted(plans, key=lambda plan: plan.begins_s)


class _FedCall(SimulatedCall):
    """A call whose audio is sent by another process."""

    feed: FrameFeed

    def start_stream(self, leg: SimulatedLeg, order: StreamOrder) -> None:
        require_answered(leg)
        mark = "&" if "?" in order.url else "?"
        token = mark + urlencode({"token": order.token}) if order.token else ""
        # after a restart of the service it is opened anew
        self.feed.close(leg.leg_id)
        self.feed.open(leg.leg_id, order.url + token)
        self.tell(webhooks.streaming_started(leg, self.clock.now(), url=order.url))

    async def stop_stream(self, leg: SimulatedLeg) -> None:
        self.feed.close(leg.leg_id)

    def hang_up(self, leg: SimulatedLeg, *, cause: str, source: str) -> None:
        self.feed.close(leg.leg_id)
        super().hang_up(leg, cause=cause, source=source)


class _TimedLane(WebhookLane):
    """Notes when a prospect's final line was handed to the client for the try that was answered."""

    account: Account

    async def _try(self, webhook: webhooks.Webhook, *, attempt: int) -> Fate | None:
        final = _final(webhook) if attempt == 1 else None
        if final is None:
            return await super()._try(webhook, attempt=attempt)
        final.due_at = final.sent_at = time.monotonic()
        self.account.said(final)
        fate = await super()._try(webhook, attempt=attempt)
        if fate == "acknowledged":
            final.ack_s = time.monotonic() - final.sent_at
        return fate


def _final(webhook: webhooks.Webhook) -> Final | None:
    words: Any = webhook.payload.get("transcription_data")
    if words is None or not words["is_final"] or words.get("transcription_track") == "outbound":
        return None
    leg_id = LegId(str(webhook.payload["call_control_id"]))
    return Final(leg_id=leg_id, text=words["transcript"], due_at=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """What all calls share."""

    door: FrontDoor
    web: aiohttp.ClientSession
    control: ControlStub
    signer: WebhookSigner
    feed: FrameFeed
    told: Told


async def make_calls(plans: list[Plan], town: Town) -> None:
    """Make every call in its time; return when the last has hung up."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for plan in plans:
            await asyncio.sleep(max(0.0, began + plan.begins_s - time.monotonic()))
            tasks.create_task(_Caller(plan, town).call(), name=f"call:{plan.number}")


class _Caller:
    def __init__(self, plan: Plan, town: Town) -> None:
        self._plan = plan
        self._town = town
        self._chance = random.Random(plan.seed)  # noqa: S311
        # we called him, as the story's people do; his number is one of fiction
        number = f"+1212555{plan.number % 10_000:04}"
        self._leg = prospect_leg(number, started_at=datetime.now(UTC))
        self._clock = ConversationClock(self._leg.started_at, speed=1.0)
        self._hangup_source = "callee" if self._leg.direction == "outgoing" else "caller"

    async def call(self) -> None:
        town, told = self._town, self._town.told
        adversity = Adversity(seed=self._plan.seed, repeat=_REPEAT, late_s=_LATE_S)
        rules = DeliveryRules(adversity=adversity)
        lane = _TimedLane(town.door, town.signer, rules)
        lane.account = told.account
        told.legs[self._leg.leg_id] = self._plan.ends
        told.up += 1
        told.most_up = max(told.most_up, told.up)
        async with asyncio.TaskGroup() as tasks:
            call = _FedCall(self._leg, self._clock, lane, tasks, stream_rules=StreamRules())
            call.feed = town.feed
            script = CloserScript(
                behaviour=self._plan.behaviour,
                ring_s=1.0,
                detect_s=0.5,
                press_s=0.5,
                leaves_after_s=3.0,
                patience_s=8.0,
            )
            town.control.add(call, script)
            delivering = tasks.create_task(lane.run(), name="webhooks")
            await self._live(call)
            await call.end(source=self._hangup_source, within_s=30.0)
            told.last_hangup_at = time.monotonic()
            told.up -= 1
            if self._plan.ends in _POSTED and self._plan.number % 2:
                # the record is there by then, and becomes another version
                await asyncio.sleep(4.0)
                await self._post_outcome()
            lane.close()
            await delivering
        told.retries += lane.counts.retries
        told.repeats += lane.counts.repeats
        told.webhooks += lane.counts.acknowledged
        told.troubles["webhooks given up"] += lane.counts.lost
        told.troubles["webhooks refused"] += lane.counts.refused

    async def _live(self, call: _FedCall) -> None:
        call.ring(self._leg)
        if self._plan.ends == "no_answer":
            self._clock.start()
            if await self._be_taken():
                await self._clock.sleep_until(self._plan.lasts_s / 4)
            call.hang_up(self._leg, cause="timeout", source="callee")
            return
        call.answer(self._leg)
        if not await self._be_taken():
            return
        if not await call.until(
            lambda: self._leg.transcription is not None, within_s=_ANSWERED_WITHIN_S
        ):
            self._town.told.troubles["calls without transcription"] += 1
        self._clock.start()
        await self._talk(call)
        if self._plan.ends == "hot_transfer":
            await call.until(lambda: not call.others_alive(), within_s=60.0)

    async def _talk(self, call: _FedCall) -> None:
        lines = script(self._chance)
        if self._plan.ends == "disqualified":
            turns = int(self._plan.lasts_s / _TURN_S)
            lines[turns - 1 :] = [_GOODBYE]
        half_s = self._plan.lasts_s / 2
        asked = False
        for turn, text in enumerate(lines):
            at_s = _TURN_S * turn + 2.0
            if at_s + 4.0 > self._plan.lasts_s or not self._leg.alive:
                break
            await self._say(call, at_s, "outbound", self._chance.choice(_AGENT_SAYS))
            for before_s, part in _INTERIMS:
                words = text.split()
                grown = " ".join(words[: max(1, int(part * len(words)))]).lower()
                await self._say(call, at_s + 4.0 - before_s, "inbound", grown, is_final=False)
            await self._say(call, at_s + 4.0, "inbound", text)
            if self._plan.ends == "hot_transfer" and not asked and self._clock.now_s() >= half_s:
                asked = True
                await self._ask_for_closer()
        await self._clock.sleep_until(self._plan.lasts_s - 0.5)
        if self._plan.ends in _POSTED and self._plan.number % 2 == 0:
            await self._post_outcome()
        await self._clock.sleep_until(self._plan.lasts_s)

    async def _say(
        self, call: _FedCall, at_s: float, track: Any, text: str, *, is_final: bool = True
    ) -> None:
        await self._clock.sleep_until(at_s)
        call.say(
            HeardLine(
                at_s=at_s, segment=0, track=track, text=text, is_final=is_final, confidence=0.96
            )
        )

    # --- what is asked of the service -----------------------------------------------------------

    async def _be_taken(self) -> bool:
        """Announce the call until the service takes it: it may be away for a while."""
        lead = {"external_id": f"day-{self._plan.number}", "experience_level": "none"}
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                attached = await self._town.door.attach(self._leg.leg_id, {"lead": lead})
            except ServiceUnreachable:
                self._town.told.troubles["attaching tried again"] += 1
                if time.monotonic() > until:
                    self._town.told.troubles["calls not taken"] += 1
                    return False
                await asyncio.sleep(0.5)
            else:
                self._town.told.taken[self._leg.leg_id] = attached.call_id
                return True

    async def _ask_for_closer(self) -> None:
        self._town.told.transfers_asked += 1
        await self._post("transfer", {"by": "bench"})

    async def _post_outcome(self) -> None:
        await self._post("outcome", {"final_status": self._plan.ends})

    async def _post(self, what: str, body: Mapping[str, object]) -> None:
        call_id = self._town.told.taken.get(self._leg.leg_id)
        if call_id is None:
            return
        until = time.monotonic() + _PATIENCE_S
        path = f"/v1/calls/{quote(call_id, safe='')}/{what}"
        while True:
            try:
                async with self._town.web.post(path, data=msgspec.json.encode(body)) as answer:
                    if answer.status < 500:
                        self._town.told.troubles[f"{what} answered {answer.status}"] += (
                            answer.status >= 400
                        )
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            if time.monotonic() > until:
                self._town.told.troubles[f"{what} not taken"] += 1
                return
            await asyncio.sleep(0.5)
