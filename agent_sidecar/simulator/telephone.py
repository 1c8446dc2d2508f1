"""One simulated telephone call: its legs, and what commands do to them.

Every change of a leg happens here at once and tells of itself by a webhook; what takes time runs in
the call's own tasks. A command that Telnyx would not carry out raises `CommandFault`.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from agent_sidecar.domain.types import LegId, Track
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.commands import CommandFault
from agent_sidecar.simulator.delivery import WebhookLane
from agent_sidecar.simulator.legs import (
    RecordingOrder,
    SimulatedLeg,
    TranscriptionOrder,
    new_leg_id,
)
from agent_sidecar.simulator.media import MediaStream, StreamChange, StreamOrder, StreamRules
from agent_sidecar.simulator.pace import ConversationClock
from agent_sidecar.simulator.transcript import HeardLine
from agent_sidecar.simulator.wav import stereo_file

_TRACKS: Mapping[str, tuple[Track, ...]] = {
    "inbound": ("inbound",),
    "outbound": ("outbound",),
    "both": ("inbound", "outbound"),
}
# engines by Telnyx's current and former names
_NAMES_TRACK = frozenset({"Telnyx", "B"})


class SimulatedCall:
    """The legs of one conversation; made by the player, commanded through the stub."""

    def __init__(
        self,
        prospect: SimulatedLeg,
        clock: ConversationClock,
        lane: WebhookLane,
        tasks: asyncio.TaskGroup,
        *,
        stream_rules: StreamRules,
    ) -> None:
        self.prospect = prospect
        self.clock = clock
        self.tasks = tasks
        self.legs: dict[LegId, SimulatedLeg] = {prospect.leg_id: prospect}
        # where recordings of this call can be fetched; the stub says so
        self.recordings_url = ""
        # what the prospect's leg sends and hears
        self.audio: dict[Track, bytes] = {}
        # a human agent's own leg: sends what the prospect's hears, and hears what it sends
        self.agent: SimulatedLeg | None = None
        # second from which no transcription says anything until it is started again
        self.mute_from_s: float | None = None
        self.streams: dict[LegId, MediaStream] = {}
        # when the last word of the recording has been said
        self.recording_s = 0.0
        # set while a leg waits for digits; the result is what was pressed
        self.gathers: dict[LegId, asyncio.Future[str]] = {}
        self._change = asyncio.Event()
        self._lane = lane
        self._stream_rules = stream_rules
        self._stream_tasks: dict[LegId, asyncio.Task[None]] = {}

    @property
    def stream(self) -> MediaStream | None:
        """The newest stream of the prospect's leg."""
        return self.streams.get(self.prospect.leg_id)

    def tell(self, webhook: webhooks.Webhook) -> None:
        """Send a webhook of this call: what it tells has just changed."""
        self._lane.send(webhook)
        self._notice()

    async def until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Wait so many conversation seconds at most; return whether it is so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s / self.clock.speed):
                while not condition():
                    await self._change.wait()
        return condition()

    def say(self, line: HeardLine) -> "asyncio.Future[Any] | None":
        """Transcribe a line of the recording wherever it is heard; None when nobody asked for it.

        What is returned is the fate of its webhook, of the last one where two legs have it.
        """
        fate: asyncio.Future[Any] | None = None
        for leg, heard in ((self.prospect, line), (self.agent, _as_heard_by_agent(line))):
            order = leg.transcription if leg is not None else None
            if leg is None or order is None or heard.track not in order.tracks:
                continue
            mute_s = self.mute_from_s
            if mute_s is not None and line.at_s >= mute_s > order.since_s:
                continue
            at = self.clock.at(line.at_s)
            fate = self._lane.send(webhooks.call_transcription(leg, at, heard))
        return fate

    # --- legs -----------------------------------------------------------------------------------

    def ring(self, leg: SimulatedLeg) -> None:
        """Let a leg begin."""
        self.legs[leg.leg_id] = leg
        self.tell(webhooks.call_initiated(leg, self.clock.now()))

    def answer(self, leg: SimulatedLeg) -> None:
        leg.state = "answered"
        self.tell(webhooks.call_answered(leg, self.clock.now()))

    def dial(self, body: Mapping[str, Any]) -> SimulatedLeg:
        """Make the leg that a dial linked to this call will ring."""
        to = body["to"] if isinstance(body["to"], str) else body["to"][0]
        return SimulatedLeg(
            leg_id=new_leg_id(),
            call_leg_id=str(uuid4()),
            call_session_id=self.prospect.call_session_id,
            from_=self.prospect.from_ if body.get("bridge_intent") else body["from"],
            to=to,
            direction="outgoing",
            started_at=self.clock.now(),
            connection_id=body["connection_id"],
            client_state=body.get("client_state"),
            parks_after_unbridge=body.get("park_after_unbridge") == "self",
        )

    def hang_up(self, leg: SimulatedLeg, *, cause: str, source: str) -> None:
        """End a leg, and the one bridged to it unless that one is to be parked."""
        require_alive(leg)
        stream = self.streams.get(leg.leg_id)
        if stream is not None:
            stream.stop()
        leg.state = "ended"
        leg.ended_at = self.clock.now()
        leg.transcription = None
        self._end_gather(leg)
        self.tell(webhooks.call_hangup(leg, leg.ended_at, cause=cause, source=source))
        if leg.recording is not None:
            self._save_recording(leg, leg.recording)
        peer = self.legs.get(leg.bridged_to) if leg.bridged_to else None
        leg.bridged_to = None
        if peer is not None and peer.alive:
            peer.bridged_to = None
            if not peer.parks_after_unbridge:
                self.hang_up(peer, cause="normal_clearing", source="unknown")

    async def end(self, *, source: str, within_s: float) -> None:
        """Let the prospect hang up, and wait until nothing of the call is left."""
        if self.stream is not None:
            await self.stop_stream(self.prospect)
        if self.prospect.state == "answered":
            self.hang_up(self.prospect, cause="normal_clearing", source=source)
        await self.until(lambda: not self.gathers and not self.others_alive(), within_s=within_s)
        for leg in self.legs.values():
            await self.stop_stream(leg)

    def others_alive(self) -> bool:
        """Return whether a leg beside the prospect's is up or ringing."""
        return any(leg.alive for leg in self.legs.values() if leg is not self.prospect)

    def bridge(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        """Join two answered legs."""
        peer = self.legs.get(body["call_control_id"])
        if peer is None:
            raise unknown_leg(body["call_control_id"])
        for one in (leg, peer):
            require_answered(one)
            if one.bridged_to is not None and body.get("prevent_double_bridge"):
                raise CommandFault("90034", "Call already bridged", f"{one.leg_id} is bridged")
        if body.get("park_after_unbridge") == "self":
            leg.parks_after_unbridge = True
        leg.bridged_to, peer.bridged_to = peer.leg_id, leg.leg_id
        for one in (leg, peer):
            self.tell(webhooks.call_bridged(one, self.clock.now()))

    # --- media and text -------------------------------------------------------------------------

    def start_stream(self, leg: SimulatedLeg, order: StreamOrder) -> None:
        """Open the media socket; a leg has one stream."""
        require_answered(leg)
        old = self.streams.get(leg.leg_id)
        if old is not None and old.connected:
            raise CommandFault("90045", "Media streaming used", "this call already has a stream")
        if old is not None:
            old.stop()
        stream = MediaStream(order, leg, self._audio_of(leg), self.clock, self._stream_rules)
        self.streams[leg.leg_id] = stream
        self._stream_tasks[leg.leg_id] = self.tasks.create_task(
            stream.run(lambda change: self._tell_stream(leg, stream, change)), name="media:stream"
        )

    def _audio_of(self, leg: SimulatedLeg) -> dict[Track, bytes]:
        if leg is self.agent:
            sides: tuple[tuple[Track, Track], ...] = (
                ("inbound", "outbound"),
                ("outbound", "inbound"),
            )
            return {own: self.audio[theirs] for own, theirs in sides if theirs in self.audio}
        return self.audio if leg is self.prospect else {}

    async def stop_stream(self, leg: SimulatedLeg) -> None:
        """Stop the leg's stream and wait until its socket is closed; none is fine."""
        stream = self.streams.get(leg.leg_id)
        if stream is not None:
            stream.stop()
            await asyncio.wait([self._stream_tasks[leg.leg_id]])

    def start_transcription(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        require_answered(leg)
        if leg.transcription is not None:
            raise CommandFault(
                "90054", "Transcription in progress", "this call is already being transcribed"
            )
        tracks = body.get("transcription_tracks", "inbound")
        if tracks not in _TRACKS:
            raise CommandFault(
                "10015",
                "Invalid parameter",
                f"transcription_tracks: {tracks!r} is none of inbound, outbound, both",
                key="transcription_tracks",
            )
        leg.transcription = TranscriptionOrder(
            tracks=_TRACKS[tracks],
            names_track=body.get("transcription_engine", "Google") in _NAMES_TRACK,
            since_s=self.clock.now_s(),
        )
        self._notice()

    def stop_transcription(self, leg: SimulatedLeg) -> None:
        require_alive(leg)
        leg.transcription = None

    def start_recording(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        """Record until the hangup or a stop."""
        require_answered(leg)
        if leg.recording is not None:
            raise CommandFault("10015", "Invalid parameter", "this call is recorded already")
        leg.recording = RecordingOrder(
            channels=body["channels"], format=body["format"], since_at=self.clock.now()
        )

    def stop_recording(self, leg: SimulatedLeg) -> None:
        require_alive(leg)
        if leg.recording is not None:
            self._save_recording(leg, leg.recording)

    def recorded_sound(self, leg: SimulatedLeg) -> bytes:
        """Return a WAV file of two channels, with what the leg sent and heard."""
        audio = self._audio_of(leg)
        return stereo_file(audio.get("inbound", b""), audio.get("outbound", b""))

    def _save_recording(self, leg: SimulatedLeg, order: RecordingOrder) -> None:
        leg.recording = None
        now = self.clock.now()
        file = f"{leg.call_leg_id}-{int(now.timestamp())}.{order.format}"
        link = f"{self.recordings_url}/{leg.leg_id}/{file}"
        self.tell(webhooks.call_recording_saved(leg, now, order=order, url=link))

    # --- speech and digits ----------------------------------------------------------------------

    def speak(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        """Speak to who is on the leg, to the other side, or to both, as the command says."""
        require_answered(leg)
        peer = self.legs.get(leg.bridged_to) if leg.bridged_to else None
        sides: dict[str, list[SimulatedLeg | None]]
        sides = {"self": [leg], "opposite": [peer], "both": [leg, peer]}
        for one in sides[body.get("target_legs", "self")]:
            if one is not None:
                one.heard.append(body["payload"])
        self.tasks.create_task(self._speak(leg, body["payload"]), name="speak")

    def gather(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        """Speak, then wait for digits as long as the command says."""
        require_answered(leg)
        if leg.leg_id in self.gathers:
            raise CommandFault("90034", "Gather in progress", "this call is gathering already")
        pressed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gathers[leg.leg_id] = pressed
        self._notice()
        self.tasks.create_task(self._gather(leg, body, pressed), name="gather")

    def tell_assistant(self, leg: SimulatedLeg, body: Mapping[str, Any]) -> None:
        """Add messages to the conversation of the assistant that talks with the prospect."""
        require_answered(leg)
        if leg is not self.prospect or self.agent is not None:
            raise CommandFault(
                "10015", "Invalid parameter", f"no AI assistant talks on {leg.leg_id}"
            )
        messages: list[dict[str, Any]] = body.get("messages", [])
        leg.assistant_told += [(m["role"], str(m.get("content", ""))) for m in messages]

    async def _speak(self, leg: SimulatedLeg, text: str) -> None:
        self.tell(webhooks.call_speak_started(leg, self.clock.now()))
        cut = await self.until(lambda: not leg.alive, within_s=speaking_s(text))
        status = "call_hangup" if cut else "completed"
        self.tell(webhooks.call_speak_ended(leg, self.clock.now(), status=status))

    async def _gather(
        self, leg: SimulatedLeg, body: Mapping[str, Any], pressed: "asyncio.Future[str]"
    ) -> None:
        tries = body.get("maximum_tries", 3)
        wait_s = tries * (speaking_s(body["payload"]) + body.get("timeout_millis", 60_000) / 1000)
        digits, status = "", "timeout"
        try:
            async with asyncio.timeout(wait_s / self.clock.speed):
                digits = await pressed
        except TimeoutError:
            status = "timeout"
        else:
            valid = set(digits) <= set(body.get("valid_digits", "0123456789#*"))
            status = "call_hangup" if not leg.alive else "valid" if valid else "invalid"
        self.gathers.pop(leg.leg_id, None)
        self.tell(webhooks.call_gather_ended(leg, self.clock.now(), status=status, digits=digits))

    def _notice(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _end_gather(self, leg: SimulatedLeg) -> None:
        pressed = self.gathers.get(leg.leg_id)
        if pressed is not None and not pressed.done():
            pressed.set_result("")

    def _tell_stream(self, leg: SimulatedLeg, stream: MediaStream, change: StreamChange) -> None:
        at, url = self.clock.now(), stream.order.url
        match change:
            case "started":
                self.tell(webhooks.streaming_started(leg, at, url=url))
            case "stopped":
                self.tell(webhooks.streaming_stopped(leg, at, url=url))
            case "failed":
                tracks = stream.order.tracks
                track = f"{tracks[0]}_track" if len(tracks) == 1 else "both_tracks"
                failed = webhooks.streaming_failed(
                    leg,
                    at,
                    stream_id=stream.stream_id,
                    params={"stream_url": url, "track": track},
                    reason=stream.reason,
                )
                self.tell(failed)


def _as_heard_by_agent(line: HeardLine) -> HeardLine:
    return replace(line, track="outbound" if line.track == "inbound" else "inbound")


def speaking_s(text: str) -> float:
    """Return how long a text takes to say."""
    return max(len(text.split()), 1) / 2.7


def unknown_leg(leg_id: str) -> CommandFault:
    return CommandFault(
        "90015", "Invalid Call Control ID", f"there is no call {leg_id!r}", key="call_control_id"
    )


def require_alive(leg: SimulatedLeg) -> None:
    """Raise what Telnyx answers for a leg that has ended."""
    if not leg.alive:
        raise CommandFault("90018", "Call has already ended", f"{leg.leg_id} has ended")


def require_answered(leg: SimulatedLeg) -> None:
    """Raise what Telnyx answers for a leg that has ended or still rings."""
    require_alive(leg)
    if leg.state != "answered":
        raise CommandFault("90034", "Call not answered yet", f"{leg.leg_id} still rings")
