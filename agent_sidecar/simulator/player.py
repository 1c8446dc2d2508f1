"""Plays one recorded call through the front door, from its announcement to its hangup.

`telnyx` is the real thing against the Call Control stub: text and audio flow only after the service
has asked for them. `passive` is for a service that must not command anything: the call is announced
as one that is only listened to, and its media socket is opened with the token from that answer.

The service may be killed and come back meanwhile: webhooks are repeated, the socket is opened
again, and the conversation goes on as it would on the phone.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import AgentKind, Lead, LegId, Source, Track
from agent_sidecar.errors import ServiceUnreachable, SidecarError
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.closer import CloserScript
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.delivery import DeliveryRules, Fate, WebhookLane
from agent_sidecar.simulator.front_door import Attached, FrontDoor
from agent_sidecar.simulator.legs import TranscriptionOrder, agent_leg, prospect_leg
from agent_sidecar.simulator.media import StreamOrder, StreamRules
from agent_sidecar.simulator.pace import ConversationClock
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.telephone import SimulatedCall
from agent_sidecar.simulator.transcript import TRACK_OF, heard_lines
from agent_sidecar.simulator.wav import read_ulaw

# from the last word to the hangup
_TAIL_S = 0.8
# wall: what the service decides after the last word may still be on its way
_SETTLE_S = 1.5
_ATTACH_BACK_OFF_S = 0.5
_HUNG_UP_BY_PROSPECT = frozenset({"abandoned", "disqualified"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRules:
    """How to play; `speed` 10 is ten times as fast as it was spoken."""

    speed: float = 1.0
    mode: Literal["telnyx", "passive"] = "passive"
    source: Source = "replay"
    agent: AgentKind = "assistant"
    # telnyx mode only: False leaves it to the service to attach by itself
    attach: bool = True
    interims: bool = True
    # a human agent is on a second leg of the same session; passive mode only: `each_leg` has a
    # stream and a transcription of its own, each with its own voice only
    heard_on: Literal["prospect_leg", "each_leg"] = "prospect_leg"
    # second from which no transcription says anything until it is started again
    mute_from_s: float | None = None
    closer: CloserScript = field(default_factory=CloserScript)
    delivery: DeliveryRules = field(default_factory=DeliveryRules)
    stream: StreamRules = field(default_factory=StreamRules)
    # how long the service may be away, or silent when it should act, wall seconds
    patience_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class PlayedCall:
    """What became of one play."""

    # the recording's own id
    file_id: str
    leg_id: LegId
    # None: the service never took the call
    call_id: str | None = None
    lines_sent: int = 0
    # final lines that the service acknowledged: it must never lose one of these
    acknowledged: int = 0
    # over all webhooks
    refused: int = 0
    lost: int = 0
    retries: int = 0
    frames_sent: int = 0
    # how the media stream ended, and why where it did not end well; None: no audio
    stream: str | None = None
    error: str | None = None


class CallPlayer:
    """Plays a call once; in `telnyx` mode `control` is the stub that the service commands."""

    def __init__(
        self,
        recorded: RecordedCall,
        front_door: FrontDoor,
        signer: WebhookSigner,
        rules: PlayRules,
        *,
        control: ControlStub | None = None,
    ) -> None:
        if rules.mode == "telnyx" and control is None:
            raise ValueError("telnyx mode needs a Call Control stub")
        started_at = recorded.started_at or datetime.now(UTC)
        self._recorded = recorded
        self._front_door = front_door
        self._rules = rules
        self._control = control
        self._clock = ConversationClock(started_at, speed=rules.speed)
        self._lane = WebhookLane(front_door, signer, rules.delivery)
        self._leg = prospect_leg(recorded.lead.phone, started_at=started_at)
        self._fates: list[asyncio.Future[Fate]] = []
        self.played = PlayedCall(file_id=recorded.call_id, leg_id=self._leg.leg_id)

    async def play(self) -> PlayedCall:
        """Play to the end; what went wrong is in `error`, so that other calls can go on."""
        try:
            audio: dict[Track, bytes] = {
                TRACK_OF[party]: await asyncio.to_thread(read_ulaw, path)
                for party, path in self._recorded.audio.items()
            }
        except SidecarError as exc:
            self.played.error = str(exc)
            return self.played
        async with asyncio.TaskGroup() as tasks:
            call = SimulatedCall(
                self._leg, self._clock, self._lane, tasks, stream_rules=self._rules.stream
            )
            call.audio = audio
            call.recording_s = self._recorded.duration_s
            call.mute_from_s = self._rules.mute_from_s
            if self._rules.agent == "human":
                call.agent = agent_leg(self._leg)
            delivering = tasks.create_task(self._lane.run(), name="webhooks")
            try:
                await self._converse(call)
            except SidecarError as exc:
                self.played.error = str(exc)
            # closers hang up by themselves when their patience ends
            within_s = 5 * self._rules.closer.patience_s
            await call.end(source=self._hangup_source(), within_s=within_s)
            self._lane.close()
            await delivering
        self._count(call)
        return self.played

    # --- the conversation -----------------------------------------------------------------------

    async def _converse(self, call: SimulatedCall) -> None:
        if self._rules.mode == "passive":
            attached = await self._attach()
            self._announce(call)
            self._be_heard(call, attached)
        else:
            await self._be_attached(call)
        self._clock.start()
        await self._speak(call)
        if self._rules.mode == "telnyx":
            await asyncio.sleep(_SETTLE_S)
            await self._wait_for_closers(call)

    def _announce(self, call: SimulatedCall) -> None:
        call.ring(self._leg)
        call.answer(self._leg)
        if call.agent is not None:
            call.ring(call.agent)
            call.answer(call.agent)
            call.bridge(self._leg, {"call_control_id": call.agent.leg_id})

    async def _be_attached(self, call: SimulatedCall) -> None:
        """Ring, and wait until the service has asked for text, and for audio if there is any."""
        assert self._control is not None  # noqa: S101 - checked when the player was made
        self._control.add(call, self._rules.closer)
        self._announce(call)
        if self._rules.attach:
            await self._attach()
        patience_s = self._rules.patience_s * self._rules.speed
        if not await call.until(lambda: self._leg.transcription is not None, within_s=patience_s):
            raise ServiceUnreachable(
                f"the service did not start a transcription of the call within"
                f" {self._rules.patience_s:g} s: is its TELNYX_API_BASE {self._control.url}?"
            )
        if call.audio:
            await call.until(
                lambda: call.stream is not None, within_s=_SETTLE_S * self._clock.speed
            )

    async def _speak(self, call: SimulatedCall) -> None:
        for line in heard_lines(self._recorded):
            if not (line.is_final or self._rules.interims):
                continue
            await self._clock.sleep_until(line.at_s)
            if not self._leg.alive:
                return
            fate = call.say(line)
            if fate is not None and line.is_final:
                self._fates.append(fate)
        await self._clock.sleep_until(self._recorded.duration_s + _TAIL_S)

    async def _wait_for_closers(self, call: SimulatedCall) -> None:
        """Let a hand-over that has begun come to its end before the prospect hangs up."""
        script = self._rules.closer
        if self._leg.alive:
            within_s = 4 * script.patience_s + script.talk_s
            await call.until(lambda: not call.others_alive(), within_s=within_s)

    def _hangup_source(self) -> str:
        outcome = self._recorded.outcome
        if outcome.final_status is None:
            return "unknown"
        prospect = "callee" if self._leg.direction == "outgoing" else "caller"
        agent = "caller" if self._leg.direction == "outgoing" else "callee"
        return prospect if outcome.final_status in _HUNG_UP_BY_PROSPECT else agent

    # --- attaching ------------------------------------------------------------------------------

    async def _attach(self) -> Attached:
        attached = await self._patiently(self._leg.leg_id, self._attachment())
        self.played.call_id = attached.call_id
        return attached

    async def _patiently(self, leg_id: LegId, body: Mapping[str, object]) -> Attached:
        """Announce the call again and again while the service is away; twice is as once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._rules.patience_s
        while True:
            try:
                return await self._front_door.attach(leg_id, body)
            except ServiceUnreachable:
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(_ATTACH_BACK_OFF_S)

    def _attachment(self) -> dict[str, object]:
        return {
            "passive": self._rules.mode == "passive",
            "source": self._rules.source,
            "external_id": self._recorded.call_id,
            "lead": lead_document(self._recorded.lead),
            "agent": self._rules.agent,
            "started_at": webhooks.stamp(self._clock.started_at),
        }

    def _be_heard(self, call: SimulatedCall, attached: Attached) -> None:
        """Transcribe and stream the call as the user's own application would."""
        each = call.agent is not None and self._rules.heard_on == "each_leg"
        tracks: tuple[Track, ...] = ("inbound",) if each else ("inbound", "outbound")
        url = attached.media_url
        if url is None and call.audio:
            self.played.stream = "refused: attach gave no stream_url, so text only"
        for leg in (self._leg, call.agent if each else None):
            if leg is not None:
                leg.transcription = TranscriptionOrder(tracks=tracks, names_track=True)
            if leg is not None and call.audio and url is not None:
                call.start_stream(leg, StreamOrder(url=url, tracks=tracks))

    # --- the account ----------------------------------------------------------------------------

    def _count(self, call: SimulatedCall) -> None:
        counts = self._lane.counts
        self.played.lines_sent = len(self._fates)
        self.played.acknowledged = sum(fate.result() == "acknowledged" for fate in self._fates)
        self.played.refused = counts.refused
        self.played.lost = counts.lost
        self.played.retries = counts.retries
        if call.stream is not None:
            self.played.frames_sent = call.stream.frames_sent
            reason = f": {call.stream.reason}" if call.stream.reason else ""
            self.played.stream = f"{call.stream.end}{reason}"
        if self.played.error is None and counts.lost:
            self.played.error = f"{counts.lost} webhooks were given up: {self._lane.last_loss}"
        elif self.played.error is None and counts.refused:
            self.played.error = f"{counts.refused} webhooks were refused: {self._lane.last_refusal}"


def lead_document(lead: Lead) -> dict[str, object]:
    """Return what is known of a lead as a request has it, unknown keys included."""
    known = {key: value for key, value in asdict(lead).items() if value not in (None, "", {})}
    extra = known.pop("extra", {})
    return {**extra, **known}
