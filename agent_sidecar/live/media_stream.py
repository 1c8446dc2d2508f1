"""One media socket's way into its call: frames in, speech fed."""

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import structlog

from agent_sidecar.domain.audio import OpenDecoders
from agent_sidecar.domain.events import SpeechHeard, StreamChanged
from agent_sidecar.domain.lines import CLAIM_S
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFrame, StreamStart
from agent_sidecar.domain.types import Party, Track
from agent_sidecar.domain.voices import WORDS_PER_S
from agent_sidecar.errors import CodecUnsupported
from agent_sidecar.live.live_call import LiveCall

log = structlog.get_logger()

# stretches of speech that are remembered for the lines they may belong to
MEMORY = 8
# of the usual time for its words: a shorter stretch is not the sound of a line
SHORTEST = 0.4
# a line is recognised so long after its last word at most
RECOGNISED_S = 2.0
_random = random.Random()  # noqa: S311  # staggers work; nothing depends on it being unguessable


class MediaStream:
    """Hears one stream for one call; `receive` is the hot path.

    Whose voice a track carries may change at any time: what was said belongs to whom it belonged
    when it was said (`domain/voices.py`). Nothing is heard before the leg is answered: ringback
    and prompts are nobody's words.
    """

    def __init__(self, call: LiveCall, start: StreamStart, open_decoders: OpenDecoders) -> None:
        # set when the socket is to be closed: a newer stream took over, or the call is over
        self.superseded = asyncio.Event()
        self.refusal = ""
        self._call = call
        self._leg_id = start.leg_id
        leg = call.call.log.legs.get(start.leg_id)
        # whose leg it is: what comes in there is his voice
        self.own_party: Party = "prospect" if leg is None else leg.party
        self._listener: Listener | None = None
        self._early_frames = 0
        # the newest stretches of speech of each track, call time
        self._said: dict[Track, deque[tuple[float, float]]] = {
            "inbound": deque(maxlen=MEMORY),
            "outbound": deque(maxlen=MEMORY),
        }
        self._is_over = False
        try:
            self._new_decoder = open_decoders(start.format)
        except CodecUnsupported as exc:
            self._is_over = True
            self.refusal = str(exc)
            log.warning("stream_refused", call_id=call.call_id, reason=self.refusal)
            call.feed(StreamChanged(at=call.now(), kind="refused", reason=self.refusal))
        else:
            call.feed(StreamChanged(at=call.now(), kind="started"))

    @property
    def is_open(self) -> bool:
        """Something can still be heard here."""
        return not self._is_over

    def receive(self, frame: MediaFrame) -> None:
        """Hear one frame; without a decoder it is dropped and the call goes on with text."""
        listener = self._listener
        if listener is None:
            listener = self._begin()
            if listener is None:
                return
        for speech in listener.receive(frame):
            self._feed(speech)

    def end_speech(self, party: Party) -> None:
        """Feed what a party has said so far."""
        if self._listener is not None:
            self._feed_all(self._listener.end_speech(party))

    def spoken_s(self, track: Track, text: str, by_s: float) -> float | None:
        """Return when, in call time, the voice on a track said a line that was recognised `by_s`.

        None: no sound that is new here is long enough for so many words, so nobody knows.
        """
        if self._listener is None:
            return None
        for party in ("prospect", "agent", "closer"):
            # a word between must not cut what goes on on the other track
            if (party == self.own_party) == (track == "inbound"):
                self.end_speech(party)
        needed_s = SHORTEST * len(text.split()) / WORDS_PER_S
        said = self._said[track]
        for place, (start_s, end_s) in reversed(list(enumerate(said))):
            is_near = by_s - RECOGNISED_S <= end_s <= by_s + CLAIM_S
            if is_near and end_s - start_s >= needed_s:
                # what came before it, and itself, are no later line's
                self._said[track] = deque(list(said)[place + 1 :], maxlen=MEMORY)
                return (start_s + end_s) / 2
        return None

    def set_other(self, party: Party) -> None:
        """Say who talks with the prospect from now on."""
        if self._listener is not None and self.own_party == "prospect":
            # one voice must not run on into the other's words
            for other in ("agent", "closer"):
                self.end_speech(other)
            self._listener.set_party("outbound", party)

    def stopped(self, reason: str) -> None:
        """End the stream; the call may go on, with another stream or none."""
        if self._is_over:
            return
        ended = StreamChanged(at=self._call.now(), kind="stopped", reason=reason)
        if (ears := self._listener) is not None:
            self._feed_all(ears.flush())
            ended = replace(
                ended,
                frames_lost=ears.frames_lost,
                masked_s=round(ears.masked_s, 3),
                echo_s=round(ears.echo_s, 3),
            )
            for fault, frames in ears.faults.items():
                if frames:
                    self._call.metrics.count("media_frames_faulty", fault, amount=frames)
        elif self._early_frames:
            self._tell_unheard(self._early_frames)
        self._is_over = True
        self._listener = None
        self._call.feed(ended)

    def end(self, reason: str) -> None:
        """End the stream for good: its socket closes."""
        self.stopped(reason)
        self.superseded.set()

    def _begin(self) -> Listener | None:
        """Return new ears once there is a conversation to hear."""
        if self._is_over:
            return None
        if self._call.call.log.voices.is_ringing(self._leg_id):
            self._early_frames += 1
            return None
        if self._early_frames:
            log.info("frames_before_answer_dropped", frames=self._early_frames)
        other: Party = self._call.other if self.own_party == "prospect" else "prospect"
        parties: dict[Track, Party] = {"inbound": self.own_party, "outbound": other}
        self._listener = Listener(
            {"inbound": self._new_decoder(), "outbound": self._new_decoder()},
            start_s=self._call.call.log.seconds(self._call.now()),
            parties=parties,
            phase=_random.random(),
            dialogue=self._call.streams.dialogue(self._leg_id),
        )
        return self._listener

    def _feed_all(self, heard: Iterable[SpeechHeard]) -> None:
        for speech in heard:
            self._feed(speech)

    def _feed(self, speech: SpeechHeard) -> None:
        """Feed what was said as his who said it; nobody's words are dropped."""
        log_of_call = self._call.call.log
        track: Track = "inbound" if speech.party == self.own_party else "outbound"
        self._said[track].append((speech.start_s, speech.end_s))
        middle = timedelta(seconds=(speech.start_s + speech.end_s) / 2)
        party = log_of_call.voices.speaker(self._leg_id, track, log_of_call.opened.at + middle)
        if party is None or (track == "outbound" and self._call.streams.hears(party)):
            return
        self._call.feed(speech if party == speech.party else replace(speech, party=party))

    def _tell_unheard(self, frames: int) -> None:
        """Note that the stream ended, and nobody had said that its leg was answered."""
        self._call.metrics.count("media_frames_unheard", "never_answered", amount=frames)
        log.warning(
            "leg_never_answered",
            leg_id=self._leg_id,
            frames=frames,
            what_to_do="if people talked on it, see to it that its call.answered webhook comes",
        )
