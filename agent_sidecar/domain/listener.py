"""Hears one media stream: frames of two tracks in, `SpeechHeard` per party out.

The hot path of the product: `receive` runs 100 times a second per call. It orders, collects, and
only every `BATCH_S` decodes and measures a track.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from agent_sidecar.domain.audio import Decode
from agent_sidecar.domain.events import SpeechHeard
from agent_sidecar.domain.features import semitones
from agent_sidecar.domain.media import MediaFormat, MediaFrame
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.reorder import TrackOrder
from agent_sidecar.domain.segmenter import Segmenter, Speech
from agent_sidecar.domain.types import Party, Track

BATCH_S = 0.2
# bytes of one frame of 20 ms at 8 kHz, one byte a sample: what stands in for a lost frame
_FRAME_BYTES = 160
# stretches of the other party's speech kept to measure overtalk and response latency
_MEMORY = 32
# segments whose pitch makes a speaker's baseline
_BASELINE = 100
# tracks that begin further apart than this are moved to where they belong
_APART_S = 0.1
NOTHING: Sequence[SpeechHeard] = ()


class _TrackEar:
    """One track: its order, its bytes not yet measured, its speech, its speaker's baseline."""

    __slots__ = (
        "batch_bytes",
        "buffer",
        "measured",
        "order",
        "pitches",
        "segmenter",
        "silence",
        "spoken",
    )

    def __init__(self, start_s: float, rate_hz: int, silence: bytes, first_batch: int) -> None:
        self.order = TrackOrder()
        self.segmenter = Segmenter(rate_hz, start_s=start_s)
        self.buffer = bytearray()
        self.batch_bytes = first_batch
        self.silence = silence
        # the speaker's pitch in his last segments: its median is the baseline
        self.pitches: dict[Party, deque[float]] = {}
        self.spoken: deque[tuple[float, float]] = deque(maxlen=_MEMORY)
        self.measured = False


class Listener:
    """The ears of one media stream; `parties` says who is on which track."""

    def __init__(
        self,
        media_format: MediaFormat,
        decode: Decode,
        *,
        start_s: float,
        parties: Mapping[Track, Party],
        phase: float = 0.5,
    ) -> None:
        """Begin at `start_s` of call time; `phase` 0..1 staggers the batches of many calls."""
        rate = media_format.sample_rate_hz
        self._decode = decode
        self._rate = rate
        self._batch = int(rate * BATCH_S)
        # mu-law and A-law silence; concealment of a lost frame is silence
        quiet = b"\xff" if media_format.encoding.upper() == "PCMU" else b"\xd5"
        self._parties = dict(parties)
        self._ears: dict[Track, _TrackEar] = {
            "inbound": _TrackEar(start_s, rate, quiet, int(self._batch * (0.5 + phase))),
            "outbound": _TrackEar(start_s, rate, quiet, int(self._batch * (1.5 - phase))),
        }

    @property
    def frames_lost(self) -> int:
        """Frames that never came, over both tracks."""
        return sum(ear.order.lost for ear in self._ears.values())

    @property
    def heard_s(self) -> float:
        """Where the audio heard so far ends, in call time."""
        return max(ear.segmenter.heard_s for ear in self._ears.values())

    def set_party(self, track: Track, party: Party) -> None:
        """Say who is on a track from now on: after the bridge the other voice is the closer."""
        self._parties[track] = party

    def receive(self, frame: MediaFrame) -> Sequence[SpeechHeard]:
        """Hear one frame; return the speech that ended with it."""
        ear = self._ears[frame.track]
        buffer = ear.buffer
        for payload in ear.order.push(frame.chunk, frame.payload):
            buffer += ear.silence * _FRAME_BYTES if payload is None else payload
        if len(buffer) < ear.batch_bytes:
            return NOTHING
        return self._measure(frame.track, ear)

    def end_speech(self, party: Party) -> Sequence[SpeechHeard]:
        """Return what a party has said so far: its words are known, so nothing is waited for.

        A final line comes before the silence that would end its speech, and claims what is there.
        """
        out: list[SpeechHeard] = []
        for track, ear in self._ears.items():
            if self._parties[track] == party:
                # a track that has not begun is aligned by its first frame, not by this
                if ear.buffer:
                    out += self._measure(track, ear)
                out += [self._describe(track, ear, speech) for speech in ear.segmenter.flush()]
        return out

    def flush(self) -> Sequence[SpeechHeard]:
        """Return what is still open: the stream has ended."""
        out: list[SpeechHeard] = []
        for track, ear in self._ears.items():
            for payload in ear.order.flush():
                ear.buffer += ear.silence * _FRAME_BYTES if payload is None else payload
            out += self._measure(track, ear)
            out += [self._describe(track, ear, speech) for speech in ear.segmenter.flush()]
        return sorted(out, key=lambda heard: heard.start_s)

    def _measure(self, track: Track, ear: _TrackEar) -> Sequence[SpeechHeard]:
        if not ear.measured:
            self._align(ear, self._other(track))
        samples = self._decode(bytes(ear.buffer))
        ear.buffer.clear()
        ear.batch_bytes = self._batch
        return [self._describe(track, ear, s) for s in ear.segmenter.receive(samples)]

    def _align(self, ear: _TrackEar, other: _TrackEar) -> None:
        """Begin a track where the other one is: it may be silent, and sent, from later on."""
        ear.measured = True
        begins_s = self._received_s(other) - len(ear.buffer) / self._rate
        if begins_s - ear.segmenter.heard_s > _APART_S:
            ear.segmenter.begin_at(begins_s)

    def _received_s(self, ear: _TrackEar) -> float:
        return ear.segmenter.heard_s + len(ear.buffer) / self._rate

    def _other(self, track: Track) -> _TrackEar:
        return self._ears["outbound" if track == "inbound" else "inbound"]

    def _describe(self, track: Track, ear: _TrackEar, speech: Speech) -> SpeechHeard:
        party, start_s = self._parties[track], speech.start_s
        theirs = _begun_before(start_s, self._other(track))
        other_s = max((min(end, start_s) for _, end in theirs), default=None)
        own_s = ear.spoken[-1][1] if ear.spoken else None
        newest_s = max((t for t in (other_s, own_s) if t is not None), default=None)
        heard = SpeechHeard(
            party=party,
            start_s=round(start_s, 3),
            end_s=round(speech.end_s, 3),
            acoustics=Acoustics(
                tonal_shift_st=self._tonal_shift(ear, party, speech.pitch_hz),
                pause_s=_since(newest_s, start_s),
                volume_dbfs=round(speech.volume_dbfs, 2),
                # he answers only when the other spoke last
                response_latency_s=_since(other_s, start_s) if newest_s == other_s else None,
                overtalk_s=round(
                    sum(max(0.0, min(speech.end_s, end) - start_s) for _, end in theirs), 3
                ),
                talk_s=round(speech.talk_s, 3),
            ),
        )
        ear.spoken.append((start_s, speech.end_s))
        return heard

    @staticmethod
    def _tonal_shift(ear: _TrackEar, party: Party, pitch: float | None) -> float | None:
        if pitch is None:
            return None
        known = ear.pitches.setdefault(party, deque(maxlen=_BASELINE))
        shift = semitones(pitch, float(np.median(known))) if known else 0.0
        known.append(pitch)
        return round(shift, 3)


def _since(before_s: float | None, start_s: float) -> float | None:
    return None if before_s is None else round(max(0.0, start_s - before_s), 3)


def _begun_before(start_s: float, ear: _TrackEar) -> list[tuple[float, float]]:
    """Return the stretches of speech that had begun by then, the one still open included."""
    since_s = ear.segmenter.speaking_since_s
    still = [] if since_s is None else [(since_s, ear.segmenter.heard_s)]
    return [stretch for stretch in (*ear.spoken, *still) if stretch[0] <= start_s]
