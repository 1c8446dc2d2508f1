"""Media-stream frames as Telnyx writes them: text frames of JSON, numbers as strings."""

from base64 import b64encode
from dataclasses import dataclass, field
from uuid import uuid4

import msgspec
import numpy as np

from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.domain.types import Track
from agent_sidecar.simulator.codecs import PCMU
from agent_sidecar.simulator.legs import SimulatedLeg
from agent_sidecar.simulator.wav import RATE_HZ, ULAW_SILENCE

FRAME_S = 0.02
FRAME_BYTES = int(RATE_HZ * FRAME_S)
_SILENCE = bytes([ULAW_SILENCE]) * FRAME_BYTES
_USER_ID = "5b1f0c1e-7d0a-4a55-8d3b-5a1d00000001"


def frame_audio(audio: bytes, index: int) -> bytes:
    """Return frame `index` of a party's audio, silence where there is none."""
    piece = audio[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]
    return piece + _SILENCE[len(piece) :]


@dataclass(slots=True)
class FrameWriter:
    """Numbers the frames of one stream: `sequence_number` over all, `chunk` per track."""

    leg: SimulatedLeg
    custom_parameters: dict[str, str] = field(default_factory=dict)
    media_format: MediaFormat = PCMU.media_format
    stream_id: str = field(default_factory=lambda: str(uuid4()).upper())
    _sequence: int = 0
    _chunks: dict[Track, int] = field(default_factory=dict)

    def connected(self) -> str:
        return '{"event":"connected","version":"1.0.0"}'

    def start(self) -> str:
        return self._write(
            "start",
            {
                "user_id": _USER_ID,
                "call_control_id": self.leg.leg_id,
                "call_session_id": self.leg.call_session_id,
                "from": self.leg.from_,
                "to": self.leg.to,
                "tags": [],
                "client_state": self.leg.client_state,
                "custom_parameters": self.custom_parameters,
                "media_format": {
                    "encoding": self.media_format.encoding,
                    "sample_rate": self.media_format.sample_rate_hz,
                    "channels": self.media_format.channels,
                },
            },
        )

    def media(self, track: Track, payload: bytes) -> str:
        """Return the next frame of a track, 20 ms."""
        return self.encoded_media(track, b64encode(payload).decode())

    def encoded_media(self, track: Track, payload: str) -> str:
        """Return the next frame of a track; its audio is base64 already."""
        self._sequence += 1
        self._chunks[track] = chunk = self._chunks.get(track, 0) + 1
        timestamp = int(chunk * FRAME_S * 1000)
        return (
            f'{{"event":"media","sequence_number":"{self._sequence}","stream_id":"{self.stream_id}"'
            f',"media":{{"track":"{track}","chunk":"{chunk}","timestamp":"{timestamp}"'
            f',"payload":"{payload}"}}}}'
        )

    def mark(self, name: str) -> str:
        return self._write("mark", {"name": name})

    def error(self) -> str:
        """Return Telnyx's complaint about a frame that nobody may have sent."""
        complaint = {"code": 100004, "title": "invalid_media", "detail": "not base64"}
        return msgspec.json.encode(
            {"event": "error", "stream_id": self.stream_id, "payload": complaint}
        ).decode()

    def stop(self) -> str:
        return self._write("stop", {"user_id": _USER_ID, "call_control_id": self.leg.leg_id})

    def _write(self, event: str, content: dict[str, object]) -> str:
        self._sequence += 1
        return msgspec.json.encode(
            {
                "event": event,
                "sequence_number": str(self._sequence),
                "stream_id": self.stream_id,
                event: content,
            }
        ).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFaults:
    """What the network does to media frames, the same for a seed."""

    seed: int
    # chances per frame
    loss: float = 0.0
    # a reordered frame is overtaken by the next one to four
    reorder: float = 0.0
    # a repeated frame comes twice
    repeat: float = 0.0
    # a gap of half a second begins
    gap: float = 0.0


_GAP_FRAMES = 25


class FaultyLine:
    """Passes frames on as `faults` has it: some never, some behind their successors."""

    def __init__(self, faults: MediaFaults) -> None:
        self._faults = faults
        self._random = np.random.default_rng(faults.seed)
        # frames still to be overtaken, and by how many
        self._held: list[tuple[int, str]] = []
        # frames that the gap still swallows
        self._gap = 0

    def carry(self, frame: str) -> list[str]:
        """Return what arrives now."""
        lost, late, twice, gap = self._random.random(4)
        if gap < self._faults.gap:
            self._gap = _GAP_FRAMES
        is_lost = lost < self._faults.loss or self._gap > 0
        self._gap = max(self._gap - 1, 0)
        arriving = [] if is_lost else [frame] * (2 if twice < self._faults.repeat else 1)
        if arriving and late < self._faults.reorder:
            self._held.append((int(self._random.integers(1, 5)), arriving.pop()))
            return arriving
        self._held = [(wait - 1, held) for wait, held in self._held]
        arriving += [held for wait, held in self._held if wait <= 0]
        self._held = [(wait, held) for wait, held in self._held if wait > 0]
        return arriving
