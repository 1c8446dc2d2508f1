"""Media frames into the decoder and what listens behind it, in every codec.

Whatever the bytes are, nothing but `FrameMalformed` comes out; whatever the frames are, the
listener keeps a bounded heap and takes a bounded time.
"""

import time
from base64 import b64encode
from itertools import cycle
from random import Random
from typing import Any

from agent_sidecar.adapters.av_decoder import AvDecoders
from agent_sidecar.adapters.telnyx_wire import decode_frame
from agent_sidecar.codecs import Codecs
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFormat, MediaFrame
from agent_sidecar.errors import FrameMalformed
from tests.fuzz.account import Account
from tests.fuzz.nonsense import mutated, torn, written

FORMATS = (
    *(("PCMU", 8000), ("PCMA", 8000), ("L16", 8000), ("L16", 16_000), ("L16", 24_000)),
    *(("G722", 8000), ("OPUS", 48_000), ("AMR-WB", 16_000)),
)
# frames that one listener hears before the next codec has its turn
_PER_STREAM = 3000
# of CPU: one frame may end a gap of a minute, but not stop the loop
SLOWEST_MS = 400.0
_STREAM = "32DE0DEA-53CB-4B21-89A4-9E1819C043BC"

START: dict[str, Any] = {
    "event": "start",
    "sequence_number": "1",
    "stream_id": _STREAM,
    "start": {
        "user_id": "3E6F995F",
        "call_control_id": "v2:T02ll",
        "call_session_id": "ff55a038",
        "from": "+13122010094",
        "to": "+13122123456",
        "tags": ["TAG1"],
        "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
        "custom_parameters": {"customer_id": "customer_123"},
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
}
RARE: tuple[dict[str, Any], ...] = (
    START,
    {"event": "connected", "version": "1.0.0"},
    {
        "event": "dtmf",
        "stream_id": _STREAM,
        "occurred_at": "2025-06-05T08:54:19.698408Z",
        "sequence_number": "5",
        "dtmf": {"digit": "1"},
    },
    {"event": "mark", "stream_id": _STREAM, "sequence_number": "5", "mark": {"name": "m1"}},
    {
        "event": "error",
        "stream_id": _STREAM,
        "payload": {"code": 100003, "title": "malformed_frame", "detail": "…"},
    },
    {"event": "stop", "stream_id": _STREAM, "stop": {"user_id": "3", "call_control_id": "v2:T"}},
)


def media(track: str, chunk: object, payload: bytes) -> dict[str, Any]:
    """Return a media frame."""
    return {
        "event": "media",
        "sequence_number": "4",
        "stream_id": _STREAM,
        "media": {
            "track": track,
            "chunk": chunk,
            "timestamp": "5",
            "payload": b64encode(payload).decode(),
        },
    }


class Numbering:
    """Chunk numbers as no telephone sends them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next = 0

    def next(self) -> int:
        """Return a number: mostly the next, or near it, or anywhere."""
        random = self._random
        match random.randrange(40):
            case 0:
                self._next = random.choice((0, 1, 2**31, 2**53, 2**63 - 1, random.randrange(10**6)))
            case 1:
                self._next += random.choice((2, 9, 50, 2999, 3000, 3001, 10**5))
            case 2:
                return max(0, self._next - random.choice((1, 2, 9, 50, 2999, 3001)))
            case 3 | 4 | 5:
                return self._next + random.randrange(12)
            case _:
                self._next += 1
        return self._next


class FrameFuzz:
    """One seeded run."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  # seeded on purpose
        self._codecs = Codecs(AvDecoders.load(), l16_byte_order=None)
        self.account = Account("frames")

    def run(self, seconds: float) -> Account:
        """Throw for so long; return what came of it."""
        account = self.account
        until_s = time.monotonic() + seconds
        warm = False
        for encoding, rate_hz in cycle(FORMATS):
            if time.monotonic() >= until_s:
                break
            self._hear(encoding, rate_hz, until_s)
            if not warm and time.monotonic() > until_s - seconds / 2:
                account.warm()
                warm = True
        account.end()
        return account

    def _hear(self, encoding: str, rate_hz: int, until_s: float) -> None:
        new = self._codecs.open(MediaFormat(encoding=encoding, sample_rate_hz=rate_hz))
        listener = Listener(
            {"inbound": new(), "outbound": new()},
            start_s=0.0,
            parties={"inbound": "prospect", "outbound": "agent"},
            phase=self._random.random(),
        )
        numbering = Numbering(self._random)
        for count in range(_PER_STREAM):
            if count % 100 == 0 and time.monotonic() >= until_s:
                break
            self._throw(self._frame(numbering), listener, encoding)
        self._note(encoding, listener.flush)

    def _throw(self, raw: bytes, listener: Listener, encoding: str) -> None:
        try:
            frame = decode_frame(raw)
        except FrameMalformed as exc:
            if len(str(exc)) > 400:
                self.account.fail(f"a message of {len(str(exc))} characters")
            self.account.note("malformed")
            return
        except Exception as exc:  # noqa: BLE001  # that is what is looked for
            self.account.fail(f"decode_frame({raw[:300]!r}): {exc!r}")
            return
        if isinstance(frame, MediaFrame):
            self._note(encoding, lambda: listener.receive(frame))
        else:
            self.account.note(type(frame).__name__)

    def _note(self, encoding: str, hear: Any) -> None:
        began_s = time.thread_time()
        try:
            hear()
        except Exception as exc:  # noqa: BLE001  # that is what is looked for
            self.account.fail(f"{encoding}: {exc!r}")
        took_s = time.thread_time() - began_s
        if 1000 * took_s > SLOWEST_MS:
            self.account.fail(f"{encoding}: {1000 * took_s:.0f} ms for one frame")
        self.account.note(encoding, took_s)

    def _frame(self, numbering: Numbering) -> bytes:
        random = self._random
        match random.randrange(12):
            case 0:
                frame, _ = mutated(random.choice(RARE), random)
                return written(frame, random)
            case 1:
                frame, _ = mutated(media("inbound", "2", random.randbytes(20)), random)
                return written(frame, random)
            case 2:
                return torn(written(media("outbound", "7", b"\xff" * 160), random), random)
            case _:
                track = random.choice(("inbound", "outbound", "inbound_track"))
                return written(media(track, str(numbering.next()), self._payload()), random)

    def _payload(self) -> bytes:
        random = self._random
        match random.randrange(60):
            case 0:
                return b""
            case 1:
                return random.randbytes(random.choice((1, 3, 159, 161, 1000, 5000)))
            case 2:
                # as long as the socket lets in
                return random.choice((b"\xff", b"\x00", b"\xf0", b"\x7f\x01")) * 90_000
            case 3:
                return b"\xf0" + bytes([random.randrange(256)]) + random.randbytes(60)
            case _:
                return random.randbytes(random.choice((160, 320, 60, 33)))
