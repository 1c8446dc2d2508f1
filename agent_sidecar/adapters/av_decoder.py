"""G722, Opus and AMR-WB by FFmpeg's decoders (PyAV, the extra `codecs`).

A payload is what one RTP packet carries, so each is decoded by itself and in order: these codecs
remember what came before. Lost payloads take their time only, as the listener puts its own sound in
their place, the same for every codec. AMR-WB's decoder is told of them all the same: what comes
next is then nearer to what was said (on average by 1 dB after losses of up to 80 ms), and what it
makes of them stands in for garbled ones. FFmpeg passes no loss on to the other two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from agent_sidecar.domain.amr import LOST_FRAME, unpack
from agent_sidecar.domain.audio import Decoder, Gaps
from agent_sidecar.domain.decimate import Decimator
from agent_sidecar.domain.types import Samples
from agent_sidecar.errors import CodecUnsupported

if TYPE_CHECKING:
    from types import ModuleType

    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame

_S16: Final = np.float32(1 / 32768)
# told of in a row; then the decoder has long faded, and a gap of a minute would take a second
_MOST_TOLD: Final = 10
# a conversation's decoders may not take its neighbours' cores
_THREADS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    # FFmpeg's names, the better decoder first: its own for AMR-WB is 2 dB too quiet
    decoders: tuple[str, ...]
    # of what the decoder returns, whatever the start frame calls it
    rate_hz: int
    # a payload's frames as the decoder takes them; None: it has none
    split: Callable[[bytes], Sequence[bytes] | None]
    # what tells the decoder of a frame that never came
    lost: bytes | None = None


def _whole(payload: bytes) -> Sequence[bytes]:
    return (payload,)


_CODECS: Final = {
    # its RTP clock says 8 kHz and is wrong for historical reasons (RFC 3551, 4.5.2)
    "G722": _Codec(decoders=("g722",), rate_hz=16_000, split=_whole),
    "OPUS": _Codec(decoders=("libopus", "opus"), rate_hz=48_000, split=_whole),
    "AMR-WB": _Codec(
        decoders=("libopencore_amrwb", "amrwb"), rate_hz=16_000, split=unpack, lost=LOST_FRAME
    ),
}
ENCODINGS: Final = frozenset(_CODECS)


class AvDecoders:
    """Opens decoders; made once, as loading FFmpeg takes longer than a frame may wait."""

    def __init__(self, av: "ModuleType | None") -> None:
        self._av = av

    @classmethod
    def load(cls) -> Self:
        """Load FFmpeg if it is installed; blocks for about 0.2 s."""
        try:
            import av
        except ImportError:
            return cls(None)
        return cls(av)

    def open(self, encoding: str) -> Callable[[], Decoder]:
        """Return what makes a decoder for each track. Raises `CodecUnsupported`."""
        if self._av is None:
            raise CodecUnsupported(
                f"{encoding} needs a decoder that is not installed: pip install '.[codecs]'"
            )
        av, codec = self._av, _CODECS[encoding]
        for name in codec.decoders:
            try:
                av.Codec(name, "r")
            except av.codec.codec.UnknownCodecError:
                continue
            return partial(_TrackDecoder, av, name, codec)
        raise CodecUnsupported(
            f"the FFmpeg that PyAV was built with has no decoder for {encoding}: install PyAV's own"
            " build, pip install '.[codecs]'"
        )


class _TrackDecoder:
    """One track of one of these codecs."""

    __slots__ = (
        "_av",
        "_codec",
        "_context",
        "_decimator",
        "_gaps",
        "_lost_in_a_row",
        "garbled",
    )

    def __init__(self, av: "ModuleType", name: str, codec: _Codec) -> None:
        self.garbled = 0
        self._av = av
        self._codec = codec
        self._context: AudioCodecContext = av.CodecContext.create(name, "r")
        self._context.sample_rate = codec.rate_hz
        self._context.layout = "mono"
        self._context.thread_count = _THREADS
        self._decimator = Decimator(codec.rate_hz)
        self._lost_in_a_row = 0
        self._gaps = Gaps(codec.rate_hz)

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode; see `Decoder`."""
        parts = [part for payload in payloads for part in self._heard(payload)]
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return self._decimator.decimate(samples)

    def _heard(self, payload: bytes) -> Sequence[Samples]:
        if not payload:
            return self._gap()
        frames = self._codec.split(payload)
        heard = None if frames is None else self._decoded(frames)
        if not heard:
            self.garbled += 1
            return self._gap()
        self._gaps.came(sum(part.size for part in heard))
        self._lost_in_a_row = 0
        return heard

    def _gap(self) -> Sequence[Samples]:
        """Return as much as the payload before had."""
        heard: list[Samples] = []
        self._lost_in_a_row += 1
        is_told = self._lost_in_a_row <= _MOST_TOLD
        left, lost = self._gaps.lost(), self._codec.lost if is_told else None
        while left > 0:
            parts = self._decoded((lost,)) if lost else None
            heard += parts or [np.zeros(left, np.float32)]
            left -= sum(part.size for part in parts) if parts else left
        return heard

    def _decoded(self, frames: Sequence[bytes]) -> list[Samples] | None:
        """Return the samples of each frame; None: the decoder cannot make sense of one."""
        heard = []
        try:
            for frame in frames:
                heard += [_samples(part) for part in self._context.decode(self._av.Packet(frame))]
        except self._av.FFmpegError:
            return None
        return heard


def _samples(frame: "AudioFrame") -> Samples:
    """Return one channel, -1..1; Opus may carry two, and its decoder was asked for one."""
    heard = frame.to_ndarray()[0]
    samples: Samples = heard.astype(np.float32, copy=False)
    return samples * _S16 if heard.dtype == np.int16 else samples
