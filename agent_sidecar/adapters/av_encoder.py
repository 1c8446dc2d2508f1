"""G722 and Opus for played calls, by FFmpeg's encoders (PyAV, the extra `codecs`).

AMR-WB is only ever decoded: PyAV's builds have no encoder for it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.errors import CodecUnsupported

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

Encode = Callable[[NDArray[np.int16]], bytes]

RATE_HZ: Final = 16_000
_ENCODERS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "G722": ("g722", {}),
    "OPUS": ("libopus", {"application": "voip", "frame_duration": "20"}),
}


def packet_encoder(encoding: str) -> Callable[[], Encode]:
    """Return what makes an encoder of 20 ms at `RATE_HZ` for each track.

    Raises `CodecUnsupported`.
    """
    try:
        import av
    except ImportError as exc:
        raise CodecUnsupported(
            f"{encoding} cannot be played without its encoder: pip install '.[codecs]'"
        ) from exc
    name, options = _ENCODERS[encoding]

    def new() -> Encode:
        context: AudioCodecContext = av.CodecContext.create(name, "w")  # type: ignore[assignment]
        context.sample_rate, context.layout, context.format = RATE_HZ, "mono", "s16"
        context.options = options
        sent = 0

        def encode(samples: NDArray[np.int16]) -> bytes:
            nonlocal sent
            frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, sent
            sent += samples.size
            return b"".join(bytes(packet) for packet in context.encode(frame))

        return encode

    return new
