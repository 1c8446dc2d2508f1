"""Which codecs of a media stream are heard, and by which decoder."""

import asyncio
from collections.abc import Callable
from typing import Final, Literal, Self

from agent_sidecar.adapters.av_decoder import ENCODINGS, AvDecoders
from agent_sidecar.domain.audio import G711, Decoder
from agent_sidecar.domain.l16 import L16, ByteOrder, StreamOrder
from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.errors import CodecUnsupported

# the rates that a start frame may name; for the last three it is a label, and tells nothing
_RATES_HZ: Final = {
    "PCMU": (8000,),
    "PCMA": (8000,),
    "L16": (8000, 16_000, 24_000),
    "G722": (8000, 16_000),
    "OPUS": (8000, 12_000, 16_000, 24_000, 48_000),
    "AMR-WB": (8000, 16_000),
}
_ASK: Final = "ask Telnyx for stream_codec PCMU"


class Codecs:
    """Opens the decoders of a stream by what its start frame says."""

    def __init__(self, decoders: AvDecoders, *, l16_byte_order: ByteOrder | None) -> None:
        """`l16_byte_order` None: it is found in the audio of each stream."""
        self._decoders = decoders
        self._byte_order = l16_byte_order

    @classmethod
    async def load(cls, l16_byte_order: Literal["detect", "big", "little"]) -> Self:
        """Load what decoders are installed, beside the loop."""
        order = None if l16_byte_order == "detect" else l16_byte_order
        return cls(await asyncio.to_thread(AvDecoders.load), l16_byte_order=order)

    def open(self, media_format: MediaFormat) -> Callable[[], Decoder]:
        """Return what makes a decoder for each track. Raises `CodecUnsupported`."""
        encoding, rate_hz = media_format.encoding.upper(), media_format.sample_rate_hz
        said = f"no decoder for {encoding[:40]} at {rate_hz} Hz, {media_format.channels} channel(s)"
        if (rates_hz := _RATES_HZ.get(encoding)) is None:
            raise CodecUnsupported(f"{said}, only for {', '.join(_RATES_HZ)}: {_ASK}")
        if media_format.channels != 1:
            raise CodecUnsupported(f"{said}: a track has one channel; {_ASK}")
        if rate_hz not in rates_hz:
            rates = ", ".join(map(str, rates_hz))
            raise CodecUnsupported(f"{said}, only at {rates} Hz: {_ASK}")
        if encoding in ENCODINGS:
            return self._open_av(encoding)
        if encoding == "L16":
            order = StreamOrder(self._byte_order)
            return lambda: L16(rate_hz, order)
        return G711.ulaw if encoding == "PCMU" else G711.alaw

    def _open_av(self, encoding: str) -> Callable[[], Decoder]:
        try:
            return self._decoders.open(encoding)
        except CodecUnsupported as exc:
            raise CodecUnsupported(f"{exc}, or {_ASK}") from exc
