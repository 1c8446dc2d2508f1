"""Prospects who talk to the service through its front door, and an account of when it answered.

Each conversation is announced as one that is only listened to, says a final line every `LINE_S`
with three interims before it, and hangs up after `LINES` of them for the next one to begin. Nothing
waits for an answer before it goes on: a slow service is not spared by the one who measures it.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import ServiceUnreachable
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import SimulatedLeg, TranscriptionOrder
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.transcript import HeardLine
from agent_sidecar.simulator.webhooks import Webhook, call_answered, call_hangup, call_transcription
from bench._feed import FrameFeed
from bench._streams import new_leg

LINE_S = 6.0
LINES = 10
# the first conversations begin over this time, so that they are not in step
RAMP_S = 4.0
# seconds before a final line at which its interims come, and how much of it they have: the last
# comes with the last word, the final when the speaker has been silent for half a second ...
_INTERIMS = ((1.5, 0.35), (1.0, 0.7), (0.5, 1.0))
# ... but the last words of so many lines are only in the final
_CHANGED, _CHANGED_PART = 1 / 3, 0.85
# from the last line to the hangup
_TAIL_S = 2.0
# Telnyx takes a later answer for none
_ANSWER_S = 2.0

# six of ten lines of a conversation are objections, the other four pass
WORTH_A_HINT = (
    "I am working two jobs and have no time for a third thing.",
    "my evenings belong to the kids, so I don't have time for this.",
    "between the night shifts and school I am too busy for anything new.",
    "where would I have the time for that, I work sixty hours a week?",
    "I do not have time to sit through a training, how long is it?",
    "ninety nine dollars is a week of groceries, I can't afford that.",
    "I cannot afford to put money into something that may not come back.",
    "there is no money left at the end of the month, so how should that work?",
    "that sounds expensive, what else do I have to pay for later on?",
    "for somebody with my wages it is just too expensive.",
    "I got burned before with a course that I paid for.",
    "why should I believe you, I don't trust people on the phone.",
    "to be frank it sounds too good to be true.",
    "how do I know that this is real, I do not know your company?",
    "is this real, or do I never hear from you again once I have paid?",
    "so at the end I bring in my friends, like one of those pyramid things?",
    "my brother lost his savings in multi level marketing, is this the same?",
    "I read that these programs are a scam, what do you say to that?",
    "this is some kind of mlm, is it not?",
    "it sounds like a pyramid scheme to me, to be honest.",
    "I would have to talk to my wife before I decide about anything.",
    "let me ask my husband first, he handles the money.",
    "we decide such things together at home, I cannot decide that alone.",
    "I am a cook, I have never sold anything to anybody.",
    "I am not good with computers, what would I have to do there?",
    "I have no experience with calling strangers, is that a part of it?",
    "could you just send me some information and leave me to read it?",
    "send me an email about it and I will look at it on Sunday.",
    "I am really not interested in another side job.",
    "this is not for me, I had enough of such offers.",
)
PASSING = (
    "I filled in that form during my lunch break on Tuesday.",
    "I drive a delivery van around the harbour, five days a week.",
    "my daughter starts college in the fall, so we are counting every dollar.",
    "that is right, we moved out here three years ago.",
    "it has been raining here all week, the garden looks like a lake.",
    "I used to work in a bakery before the plant opened.",
    "a little extra each month would take some of the pressure off.",
    "I see, that makes sense so far.",
    "my neighbour does something from home as well, she seems happy with it.",
    "the car needs new brakes, and the rent went up in spring.",
    "go ahead, I am listening while I fold the laundry.",
    "I like working with people, that was always the better part of the day.",
    "on a Sunday we all sit at one table, the only time in the week.",
    "that is more or less what I imagined.",
    "I did a year of night school, but then the baby came.",
    "the last company closed our branch without a warning.",
)


_NAMES = (
    "Ana Ben Carla Dmitri Elif Farid Greta Hugo Ines Jonas Keiko Lars Mona Nils Olga Pedro Quinn"
    " Rosa Sven Tara"
).split()
_OPENERS = "Look Listen Well Hm Honestly Okay Sure Actually Right Oh".split()


def script(chance: random.Random) -> list[str]:
    """Return the lines of one conversation; hardly any has been said before, here or elsewhere.

    A service that has seen a line may remember its vector, and people do not repeat each other.
    """
    lines = chance.sample(WORTH_A_HINT, 6) + chance.sample(PASSING, LINES - 6)
    chance.shuffle(lines)
    return [f"{chance.choice(_OPENERS)}, {chance.choice(_NAMES)}, {line}" for line in lines]


@dataclass(slots=True, kw_only=True)
class Final:
    """One final line and what it brought; seconds since it was sent, None: nothing came."""

    leg_id: LegId
    text: str
    # both by the monotonic clock
    due_at: float
    sent_at: float = 0.0
    ack_s: float | None = None
    score_s: float | None = None
    hint_s: float | None = None
    # what the service says it took
    inside_ms: float | None = None
    degraded: tuple[str, ...] = ()


class Account:
    """Every final line, and the answers put beside the line of their leg."""

    def __init__(self) -> None:
        self.finals: list[Final] = []
        # webhooks that were not answered 200 in time
        self.unanswered = 0
        # calls that the service did not take
        self.refused_calls = 0
        self._newest: dict[LegId, Final] = {}

    def said(self, final: Final) -> None:
        """Note a line that is sent now."""
        self.finals.append(final)
        self._newest[final.leg_id] = final

    def hear(self, message: Mapping[str, Any]) -> None:
        """Note a message of the hints socket; lines are far enough apart to tell whose it is."""
        now = time.monotonic()
        final = self._newest.get(LegId(str(message.get("call_control_id"))))
        if final is None:
            return
        if message["type"] == "score" and final.score_s is None and message["text"] == final.text:
            final.score_s = now - final.sent_at
        elif message["type"] == "hint" and final.hint_s is None:
            final.hint_s = now - final.sent_at
            final.inside_ms = message["latency_ms"]
            final.degraded = tuple(message["degraded"])

    def between(self, begin: float, end: float) -> list[Final]:
        """Return the finals that were sent in this stretch of the monotonic clock."""
        return [final for final in self.finals if begin <= final.sent_at < end]


class Talk:
    """Many conversations at once, each followed by the next, for as long as `run` runs."""

    def __init__(
        self, door: FrontDoor, signer: WebhookSigner, feed: FrameFeed, *, seed: int
    ) -> None:
        self.account = Account()
        self._door = door
        self._signer = signer
        self._feed = feed
        self._chance = random.Random(seed)  # noqa: S311

    async def run(self, calls: int) -> None:
        """Talk until cancelled. Raises `SidecarError` when the service refuses a call."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(calls):
                # each its own, so that the order in which they wake changes nothing
                chance = random.Random(self._chance.random())  # noqa: S311
                tasks.create_task(self._keep_talking(chance, tasks), name=f"prospect:{number}")

    async def _keep_talking(self, chance: random.Random, tasks: asyncio.TaskGroup) -> None:
        await asyncio.sleep(chance.random() * RAMP_S)
        # the first conversation is shorter, so that not all end at once
        lines = script(chance)[: chance.randint(2, LINES)]
        due = time.monotonic() + _INTERIMS[0][0] + chance.random() * LINE_S
        while True:
            await self._converse(lines, due, tasks, chance)
            due += len(lines) * LINE_S
            lines = script(chance)

    async def _converse(
        self, lines: list[str], due: float, tasks: asyncio.TaskGroup, chance: random.Random
    ) -> None:
        leg = new_leg()
        leg.transcription = TranscriptionOrder(tracks=("inbound", "outbound"), names_track=True)
        if not await self._be_taken(leg):
            await _sleep_until(due + (len(lines) - 1) * LINE_S + _TAIL_S)
            return
        self._post(call_answered(leg, datetime.now(UTC)), tasks)
        for text in lines:
            changes = chance.random() < _CHANGED
            await self._say(leg, text, due, tasks, changes=changes)
            due += LINE_S
        await asyncio.sleep(_TAIL_S)
        self._feed.close(leg.leg_id)
        now = datetime.now(UTC)
        self._post(call_hangup(leg, now, cause="normal_clearing", source="callee"), tasks)

    async def _be_taken(self, leg: SimulatedLeg) -> bool:
        lead = {"external_id": f"bench-{leg.call_session_id}", "experience_level": "none"}
        try:
            attached = await self._door.attach(leg.leg_id, {"passive": True, "lead": lead})
        except ServiceUnreachable:
            self.account.refused_calls += 1
            return False
        if attached.media_url is not None:
            self._feed.open(leg.leg_id, attached.media_url)
        return True

    async def _say(
        self,
        leg: SimulatedLeg,
        text: str,
        due: float,
        tasks: asyncio.TaskGroup,
        *,
        changes: bool,
    ) -> None:
        words = text.split()
        for before_s, part in _INTERIMS:
            await _sleep_until(due - before_s)
            share = min(part, _CHANGED_PART) if changes else part
            # a recogniser writes capitals and full stops when it is sure
            grown = " ".join(words[: max(1, int(share * len(words)))]).lower().rstrip(".?")
            self._post(_transcription(leg, grown, is_final=False), tasks)
        await _sleep_until(due)
        final = Final(leg_id=leg.leg_id, text=text, due_at=due)
        self._post(_transcription(leg, text, is_final=True), tasks, final)

    def _post(self, webhook: Webhook, tasks: asyncio.TaskGroup, final: Final | None = None) -> None:
        tasks.create_task(self._deliver(webhook, final), name=f"webhook:{webhook.event_type}")

    async def _deliver(self, webhook: Webhook, final: Final | None) -> None:
        body = webhook.body(attempt=1, delivered_to=self._door.webhook_url)
        headers = self._signer.headers(body, timestamp=int(time.time()))
        sent_at = time.monotonic()
        if final is not None:
            final.sent_at = sent_at
            self.account.said(final)
        try:
            status = await self._door.post_webhook(body, headers, answer_s=_ANSWER_S)
        except ServiceUnreachable:
            status = 0
        if status != 200:
            self.account.unanswered += 1
        elif final is not None:
            final.ack_s = time.monotonic() - sent_at


def _transcription(leg: SimulatedLeg, text: str, *, is_final: bool) -> Webhook:
    line = HeardLine(
        at_s=0.0, segment=0, track="inbound", text=text, is_final=is_final, confidence=0.96
    )
    return call_transcription(leg, datetime.now(UTC), line)


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
