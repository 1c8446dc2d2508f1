"""Hears one media stream: frames of two tracks in, `SpeechHeard` per party out.

The hot path of the product: `receive` runs 100 times a second per call. It orders, collects, and
only every `BATCH_S` decodes and measures, both tracks at once: what leaks from one into the other
is found by comparing them.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from agent_sidecar.domain.audio import FRAME_S, G711, RATE_HZ, Decoder
from agent_sidecar.domain.concealment import CONTEXT, conceal
from agent_sidecar.domain.dialogue import Dialogue
from agent_sidecar.domain.echo import EchoFinder, Heard
from agent_sidecar.domain.events import SpeechHeard
from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.reorder import TrackOrder
from agent_sidecar.domain.segmenter import Segmenter
from agent_sidecar.domain.speech import Speech
from agent_sidecar.domain.tonality import Mask
from agent_sidecar.domain.types import Party, Samples, Track

BATCH_S = 0.4
_BATCH = round(BATCH_S / FRAME_S)
# tracks that begin further apart than this are moved to where they belong
_APART_S = 0.2
_FRAME = round(FRAME_S * RATE_HZ)
# frames of a conversation that nobody had
_REHEARSAL = 150
_OTHER: Mapping[Track, Track] = {"inbound": "outbound", "outbound": "inbound"}
NOTHING: Sequence[SpeechHeard] = ()


class _TrackEar:
    """One track: its order, its payloads not yet measured, its speech."""

    __slots__ = ("_last", "decoder", "heard", "measured", "order", "payloads", "segmenter")

    def __init__(self, decoder: Decoder, start_s: float) -> None:
        self.order = TrackOrder()
        self.decoder = decoder
        # one for each frame, an empty one where it never came
        self.payloads: list[bytes] = []
        self.segmenter = Segmenter(start_s=start_s)
        # its last seconds
        self.heard = Heard()
        self.measured = False
        # the end of what came, for what does not
        self._last: Samples = np.zeros(0, np.float32)

    def decode(self) -> tuple[Samples, Mask | None]:
        """Return what came since this was last asked, and which of it stands in for a loss."""
        payloads, self.payloads = self.payloads, []
        if b"" not in payloads:
            samples = self.decoder.decode(payloads)
            self._remember(samples)
            return samples, None
        parts, lost = [], []
        for came, group in groupby(payloads, key=bool):
            part = self.decoder.decode(list(group))
            if came:
                self._remember(part)
            else:
                part = conceal(self._last, part.size)
            parts.append(part)
            lost.append(np.full(part.size, not came))
        return np.concatenate(parts), np.concatenate(lost)

    def _remember(self, samples: Samples) -> None:
        if samples.size < CONTEXT:
            samples = np.concatenate((self._last, samples))
        self._last = samples[-CONTEXT:]


class Listener:
    """The ears of one media stream; `parties` says who is on which track."""

    def __init__(
        self,
        decoders: Mapping[Track, Decoder],
        *,
        start_s: float,
        parties: Mapping[Track, Party],
        phase: float = 0.5,
        dialogue: Dialogue | None = None,
    ) -> None:
        """Begin at `start_s` of call time; `phase` 0..1 staggers the batches of many calls.

        `dialogue` knows the voices from an earlier stream of the same leg; None: there was none.
        """
        self._parties = dict(parties)
        self._ears: dict[Track, _TrackEar] = {
            track: _TrackEar(decoder, start_s) for track, decoder in decoders.items()
        }
        inbound, outbound = self._ears["inbound"], self._ears["outbound"]
        inbound.segmenter.find_echo = EchoFinder(inbound.heard, outbound.heard).find
        outbound.segmenter.find_echo = EchoFinder(outbound.heard, inbound.heard).find
        self._dialogue = Dialogue() if dialogue is None else dialogue
        # so many frames of a track are measured at once
        self._batch = round(_BATCH * (0.5 + phase))

    @property
    def frames_lost(self) -> int:
        """Frames that never came, or came and could not be decoded, over both tracks."""
        faults = self.faults
        return faults["lost"] + faults["garbled"]

    @property
    def faults(self) -> Mapping[str, int]:
        """What was wrong with how many frames, over both tracks."""
        ears = self._ears.values()
        return {
            "lost": sum(ear.order.lost for ear in ears),
            "late": sum(ear.order.late for ear in ears),
            "repeated": sum(ear.order.repeated for ear in ears),
            "garbled": sum(ear.decoder.garbled for ear in ears),
        }

    @property
    def heard_s(self) -> float:
        """Where the audio heard so far ends, in call time."""
        return max(ear.segmenter.heard_s for ear in self._ears.values())

    @property
    def masked_s(self) -> float:
        """Seconds of music and signalling tones that were taken for nobody's speech."""
        return sum(ear.segmenter.masked_s for ear in self._ears.values())

    @property
    def echo_s(self) -> float:
        """Seconds of one track's speech that were found to be the other's echo."""
        return sum(ear.segmenter.echo_s for ear in self._ears.values())

    def set_party(self, track: Track, party: Party) -> None:
        """Say who is on a track from now on: after the bridge the other voice is the closer."""
        self._parties[track] = party

    def receive(self, frame: MediaFrame) -> Sequence[SpeechHeard]:
        """Hear one frame; return the speech that ended with it."""
        ear = self._ears[frame.track]
        payloads = ear.payloads
        for payload in ear.order.push(frame.chunk, frame.payload):
            payloads.append(payload or b"")
        if len(payloads) < self._batch:
            return NOTHING
        self._batch = _BATCH
        return self._measure()

    def end_speech(self, party: Party) -> Sequence[SpeechHeard]:
        """Return what a party has said so far: its words are known, so nothing is waited for.

        A final line comes before the silence that would end its speech, and claims what is there.
        """
        out = list(self._measure())
        for track, ear in self._ears.items():
            if self._parties[track] == party:
                out += [self._tell(track, speech) for speech in ear.segmenter.flush()]
        return out

    def flush(self) -> Sequence[SpeechHeard]:
        """Return what is still open: the stream has ended."""
        for ear in self._ears.values():
            for payload in ear.order.flush():
                ear.payloads.append(payload or b"")
        out = list(self._measure())
        for track, ear in self._ears.items():
            out += [self._tell(track, speech) for speech in ear.segmenter.flush()]
        return sorted(out, key=lambda heard: heard.start_s)

    def _measure(self) -> Sequence[SpeechHeard]:
        """Measure what has come of both tracks; return the speech that ended in it."""
        came = {track: ear.decode() for track, ear in self._ears.items() if ear.payloads}
        for track, (samples, _) in came.items():
            ear, length_s = self._ears[track], samples.size / RATE_HZ
            if not ear.measured:
                ear.measured = True
                waiting_s = ear.order.waiting * FRAME_S
                self._align(ear, self._received_s(_OTHER[track], came) - length_s - waiting_s)
            ear.heard.add(samples, ear.segmenter.heard_s + length_s)
        out: list[SpeechHeard] = []
        for track, (samples, lost) in came.items():
            ended = self._ears[track].segmenter.receive(samples, lost)
            out += [self._tell(track, speech) for speech in ended]
        return out

    def _received_s(self, track: Track, came: Mapping[Track, tuple[Samples, Mask | None]]) -> float:
        """Return where the audio that was received of a track ends."""
        ear = self._ears[track]
        length = came[track][0].size if track in came else 0
        return ear.segmenter.heard_s + length / RATE_HZ + ear.order.waiting * FRAME_S

    def _align(self, ear: _TrackEar, begins_s: float) -> None:
        """Begin a track where the other one is: it may be silent, and sent, from later on."""
        if begins_s - ear.segmenter.heard_s > _APART_S:
            ear.segmenter.begin_at(begins_s)

    def _tell(self, track: Track, speech: Speech) -> SpeechHeard:
        party = self._parties[track]
        open_speech = self._ears[_OTHER[track]].segmenter.open_speech
        return SpeechHeard(
            party=party,
            start_s=round(speech.start_s, 3),
            end_s=round(speech.end_s, 3),
            acoustics=self._dialogue.describe(
                party,
                track,
                speech,
                [] if open_speech is None else open_speech.parts,
            ),
        )


def warm_up() -> None:
    """Hear a made-up conversation, so that no real one waits for what numpy does only once.

    The first batch of a process would take 40 ms, in which nobody else is heard either.
    """
    listener = Listener(
        {"inbound": G711.ulaw(), "outbound": G711.ulaw()},
        start_s=0.0,
        parties={"inbound": "prospect", "outbound": "agent"},
    )
    quieter_by: Mapping[Track, int] = {"inbound": 0, "outbound": 0x18}
    for chunk in range(_REHEARSAL):
        # a buzz of 100 Hz that swells, its echo, and then silence; one frame is missing
        swell = 4 * (chunk % 8) if chunk < _REHEARSAL // 2 else 0x7F
        for track, quieter in quieter_by.items():
            codes = (0x80 + place % 80 + swell + quieter for place in range(_FRAME))
            payload = bytes(min(code, 0xFF) for code in codes)
            if chunk != _REHEARSAL // 4:
                listener.receive(MediaFrame(track, chunk, payload))
    listener.flush()
