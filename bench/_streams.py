"""Media sockets as Telnyx opens them, many at a time: a frame of each track every 20 ms.

Every track has its own random phase and every frame its own send. The frames are those of
`simulator/frames.py`, their audio encoded beforehand and masked with a key of zeros (which costs a
server what any key costs) on plain sockets: a client that pays for tasks, timers and encoding could
not send for hundreds of calls beside what it measures, on the same two cores.

As a program it obeys commands on stdin, JSON lines: `{"open": LEG, "url": URL}`, `{"close": LEG}`,
`{"report": true}` (answered on stdout); it ends with stdin.
"""

import gc
import heapq
import itertools
import random
import socket
import struct
import sys
import threading
import time
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.domain.audio import G711
from agent_sidecar.domain.types import LegId, Track
from agent_sidecar.simulator.frames import FRAME_BYTES, FRAME_S, FrameWriter, frame_audio
from agent_sidecar.simulator.legs import SimulatedLeg, new_leg_id, prospect_leg
from agent_sidecar.simulator.sample import CALL
from agent_sidecar.simulator.transcript import TRACK_OF
from agent_sidecar.simulator.wav import read_ulaw
from bench._report import percentiles_ms

TRACKS: tuple[Track, Track] = ("inbound", "outbound")
# a server that does not read, or does not answer, for so long has lost the stream
_PATIENCE_S = 5.0
_IDLE_S = 0.005
# of each track; the sample's own silences are longer
SPOKEN = 0.4
# level from which a frame of the sample is speech: -50 dBFS
_FAINTEST = 10 ** (-50 / 20)


# of a client's frame: text and final; masked, and the length follows; no mask
_HEADER = struct.Struct("!BBH4x")
_FINAL_TEXT, _LENGTH_FOLLOWS = 0x81, 0xFE


@lru_cache(maxsize=1)
def sample_payloads() -> dict[Track, list[str]]:
    """Return each frame of the sample's audio as it is written in a media frame."""
    return {
        track: [
            b64encode(frame_audio(ulaw, index)).decode()
            for index in range(len(ulaw) // FRAME_BYTES)
        ]
        for track, ulaw in sample_audio().items()
    }


@lru_cache(maxsize=1)
def sample_audio() -> dict[Track, bytes]:
    """Return both parties of the sample call, µ-law: of each track `SPOKEN` is speech."""
    [call] = read_recorded_calls(CALL)
    return {TRACK_OF[party]: _shortened(read_ulaw(path)) for party, path in call.audio.items()}


def spoken(ulaw: bytes) -> NDArray[np.bool_]:
    """Return for each frame whether there is speech in it; the sample has silence for the rest."""
    whole = len(ulaw) // FRAME_BYTES * FRAME_BYTES
    frames = G711.ulaw().decode([ulaw[:whole]]).reshape(-1, FRAME_BYTES)
    return np.asarray(np.sqrt(np.mean(frames**2, axis=1)) > _FAINTEST)


def _shortened(ulaw: bytes) -> bytes:
    """Leave out every so many frames of silence, until `SPOKEN` of the track is speech."""
    is_speech = spoken(ulaw)
    silent = np.flatnonzero(~is_speech)
    too_many = len(is_speech) - round(np.count_nonzero(is_speech) / SPOKEN)
    gone = silent[np.linspace(0, len(silent) - 1, max(0, too_many)).astype(int)]
    kept = np.setdiff1d(np.arange(len(is_speech)), gone)
    return b"".join(frame_audio(ulaw, int(index)) for index in kept)


def new_leg(leg_id: LegId | None = None) -> SimulatedLeg:
    """Return the prospect's leg of a call that is up."""
    leg = prospect_leg(None, started_at=datetime.now(UTC))
    return replace(leg, leg_id=leg_id or new_leg_id(), state="answered")


class PacedStream:
    """One call's media socket; opening it blocks, and so does a server that does not read."""

    def __init__(self, url: str, leg: SimulatedLeg, *, upgrade: bool = True) -> None:
        """Connect and send the start frame; without `upgrade` the server is none of WebSockets."""
        place = urlsplit(url)
        address = (place.hostname or "127.0.0.1", place.port or 80)
        self._socket = socket.create_connection(address, timeout=_PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state = State.CONNECTING if upgrade else State.OPEN
        self._protocol = ClientProtocol(parse_uri(url), state=state)
        if upgrade:
            self._upgrade()
        self._writer = FrameWriter(leg)
        self._payloads = sample_payloads()
        self._next = {
            track: random.randrange(len(self._payloads[track]))  # noqa: S311
            for track in TRACKS
        }
        self._write(self._writer.connected())
        self._write(self._writer.start())

    def send(self, track: Track) -> None:
        """Send the track's next frame. Raises `OSError` when the server is gone."""
        index, payloads = self._next[track], self._payloads[track]
        self._next[track] = (index + 1) % len(payloads)
        text = self._writer.encoded_media(track, payloads[index]).encode()
        self._socket.sendall(_HEADER.pack(_FINAL_TEXT, _LENGTH_FOLLOWS, len(text)) + text)

    def close(self) -> None:
        """Say that the stream stops, and hang up."""
        try:
            self._write(self._writer.stop())
        except OSError:
            pass  # the server was faster
        finally:
            self._socket.close()

    def _upgrade(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._socket.sendall(b"".join(self._protocol.data_to_send()))
        while self._protocol.state is State.CONNECTING:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the server closed the socket instead of upgrading it")
            self._protocol.receive_data(received)
        if self._protocol.handshake_exc is not None:
            raise ConnectionError(f"the server refused: {self._protocol.handshake_exc}")

    def _write(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._socket.sendall(b"".join(self._protocol.data_to_send()))


@dataclass(slots=True)
class Paced:
    """What a pacer did since it was last asked."""

    frames: int = 0
    # how long after its moment each frame was sent
    late_s: list[float] = field(default_factory=list)
    # streams that the server ended
    lost: int = 0


class Pacer:
    """Sends for all streams from one thread; `add` and `drop` may be called from another."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, PacedStream, Track]] = []
        self._numbers = itertools.count()
        self._coming: deque[PacedStream] = deque()
        self._going: set[PacedStream] = set()
        self.paced = Paced()

    def add(self, stream: PacedStream) -> None:
        """Send for this stream from now on."""
        self._coming.append(stream)

    def drop(self, stream: PacedStream) -> None:
        """Stop and close this stream at its next frame."""
        self._going.add(stream)

    def run(self, until: float) -> None:
        """Send until that moment of the monotonic clock."""
        while (now := time.monotonic()) < until:
            while self._coming:
                self._begin(self._coming.popleft(), now)
            if not self._due:
                time.sleep(min(_IDLE_S, until - now))
                continue
            due = self._due[0][0]
            if due > now:
                # not longer than idle: whoever is added begins soon
                time.sleep(min(due - now, until - now, _IDLE_S))
                continue
            self._send(now)

    def close(self) -> None:
        """Close every stream."""
        for stream in {stream for _, _, stream, _ in self._due} | set(self._coming):
            stream.close()
        self._due.clear()
        self._coming.clear()

    def _begin(self, stream: PacedStream, now: float) -> None:
        for track in TRACKS:
            first = now + random.random() * FRAME_S  # noqa: S311
            heapq.heappush(self._due, (first, next(self._numbers), stream, track))

    def _send(self, now: float) -> None:
        due, number, stream, track = self._due[0]
        if stream in self._going:
            self._remove(stream)
            stream.close()
            return
        try:
            stream.send(track)
        except OSError:
            self._remove(stream)
            stream.close()
            self.paced.lost += 1
            return
        self.paced.frames += 1
        self.paced.late_s.append(now - due)
        heapq.heapreplace(self._due, (due + FRAME_S, number, stream, track))

    def _remove(self, stream: PacedStream) -> None:
        self._going.discard(stream)
        self._due = [entry for entry in self._due if entry[2] is not stream]
        heapq.heapify(self._due)


class Command(Struct, omit_defaults=True):
    """What the program is told."""

    open: str | None = None
    url: str = ""
    close: str | None = None
    report: bool = False


class Report(Struct):
    """What it answers: since the last report."""

    frames: int
    late_p99_ms: float | None
    # streams that could not be opened or that the server ended
    lost: int
    cpu_s: float


class _Obey:
    """Takes commands in a thread, so that a slow handshake delays nobody's frames."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._streams: dict[str, PacedStream] = {}
        self._refused = 0
        self._cpu_s = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        for line in sys.stdin.buffer:
            command = msgspec.json.decode(line, type=Command)
            if command.open is not None:
                self._open(LegId(command.open), command.url)
            elif command.close is not None:
                if (stream := self._streams.pop(command.close, None)) is not None:
                    self._pacer.drop(stream)
            elif command.report:
                self._report()
        self.ended.set()

    def _open(self, leg_id: LegId, url: str) -> None:
        try:
            stream = PacedStream(url, new_leg(leg_id))
        except OSError as exc:
            self._refused += 1
            sys.stderr.write(f"no media socket: {exc}\n")
            return
        self._streams[leg_id] = stream
        self._pacer.add(stream)

    def _report(self) -> None:
        paced, self._pacer.paced = self._pacer.paced, Paced()
        used_s = time.process_time()
        late = percentiles_ms("late_", paced.late_s, 99)
        report = Report(
            frames=paced.frames,
            lost=paced.lost + self._refused,
            cpu_s=used_s - self._cpu_s,
            **late,
        )
        self._refused, self._cpu_s = 0, used_s
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    sample_payloads()
    gc.freeze()
    pacer = Pacer()
    obey = _Obey(pacer)
    threading.Thread(target=obey.run, name="commands", daemon=True).start()
    while not obey.ended.is_set():
        pacer.run(time.monotonic() + 0.25)
    pacer.close()


if __name__ == "__main__":
    main()
