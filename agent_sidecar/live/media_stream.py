"""One media socket's way into its call: frames in, speech fed."""

import asyncio
import random

import structlog

from agent_sidecar.domain.audio import decoder_for
from agent_sidecar.domain.events import SpeechHeard, StreamChanged
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFrame, StreamStart
from agent_sidecar.domain.types import Party, Track
from agent_sidecar.live.live_call import LiveCall

log = structlog.get_logger()
_random = random.Random()  # noqa: S311  # staggers work; nothing depends on it being unguessable


class MediaStream:
    """Hears one stream for one call; `receive` is the hot path."""

    def __init__(self, call: LiveCall, start: StreamStart) -> None:
        # set when the socket is to be closed: a newer stream took over, or the call is over
        self.superseded = asyncio.Event()
        self._call = call
        # on any other leg the prospect is the other voice
        self._is_prospect_s = start.leg_id == call.leg_id
        self._listener = self._listen(start)
        self.refusal = ""
        if self._listener is None:
            media_format = start.format
            self.refusal = (
                f"no decoder for {media_format.encoding} at {media_format.sample_rate_hz} Hz,"
                f" {media_format.channels} channel(s): ask Telnyx for stream_codec PCMU"
            )
            log.warning("stream_refused", call_id=call.call_id, reason=self.refusal)
            call.feed(StreamChanged(at=call.now(), kind="refused", reason=self.refusal))
        else:
            call.feed(StreamChanged(at=call.now(), kind="started"))

    def receive(self, frame: MediaFrame) -> None:
        """Hear one frame; without a decoder it is dropped and the call goes on with text."""
        if self._listener is None or self.superseded.is_set():
            return
        for speech in self._listener.receive(frame):
            self._feed(speech)

    def end_speech(self, party: Party) -> None:
        """Feed what a party has said so far."""
        if self._listener is not None:
            for speech in self._listener.end_speech(party):
                self._feed(speech)

    def set_other(self, party: Party) -> None:
        """Say who the other voice is from now on."""
        if self._listener is not None and self._is_prospect_s:
            self._listener.set_party("outbound", party)

    def stopped(self, reason: str) -> None:
        """End the stream; the call may go on, with another stream or none."""
        if self._listener is None:
            return
        for speech in self._listener.flush():
            self._feed(speech)
        lost = self._listener.frames_lost
        self._listener = None
        self._call.feed(
            StreamChanged(at=self._call.now(), kind="stopped", reason=reason, frames_lost=lost)
        )

    def end(self, reason: str) -> None:
        """End the stream for good: its socket closes."""
        self.stopped(reason)
        self.superseded.set()

    def _listen(self, start: StreamStart) -> Listener | None:
        decode = decoder_for(start.format)
        if decode is None:
            return None
        parties: dict[Track, Party] = {"inbound": "prospect", "outbound": self._call.other}
        leg = self._call.call.log.legs.get(start.leg_id)
        if leg is not None and leg.party == "agent":
            parties = {"inbound": "agent", "outbound": "prospect"}
        return Listener(
            start.format,
            decode,
            start_s=self._call.call.log.seconds(self._call.now()),
            parties=parties,
            phase=_random.random(),
        )

    def _feed(self, speech: SpeechHeard) -> None:
        self._call.feed(speech)
