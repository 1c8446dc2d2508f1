"""What Pipecat pays for a frame: its Telnyx serializer and its Silero analyzer, at 8 kHz.

A program for an interpreter that has pipecat-ai and need not have anything of ours. Each line on
stdin is a JSON list of tracks, each a list of Telnyx's media frames as text; a track has its own
analyzer and a task of its own, as a call's socket has in Pipecat. No socket and no waiting for the
next frame: warm caches, which flatters it. Each line is answered with what it cost.
"""

import asyncio
import json
import resource
import sys

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.serializers.telnyx import TelnyxFrameSerializer

_RATE_HZ = 8000


class _Track:
    def __init__(self) -> None:
        params = TelnyxFrameSerializer.InputParams(sample_rate=_RATE_HZ, auto_hang_up=False)
        self._serializer = TelnyxFrameSerializer("S1", "PCMU", "PCMU", params=params)
        # what `setup` sets, without the pipeline that it wants to see
        self._serializer._sample_rate = _RATE_HZ  # noqa: SLF001
        self._analyzer = SileroVADAnalyzer(sample_rate=_RATE_HZ)
        self._analyzer.set_sample_rate(_RATE_HZ)

    async def hear(self, frames: list[str]) -> int:
        """Return in how many of the frames somebody spoke."""
        speaking = 0
        for text in frames:
            frame = await self._serializer.deserialize(text)
            state = await self._analyzer.analyze_audio(frame.audio)
            speaking += state in (VADState.SPEAKING, VADState.STOPPING)
        return speaking


def main() -> None:
    logger.remove()
    loop = asyncio.new_event_loop()
    tracks: list[_Track] = []
    for line in sys.stdin:
        given = json.loads(line)
        while len(tracks) < len(given):
            tracks.append(_Track())
        before = _used_s()
        spoke = loop.run_until_complete(_hear(tracks, given))
        answer = {"cpu_s": _used_s() - before, "speaking": spoke}
        print(json.dumps(answer), flush=True)


async def _hear(tracks: list[_Track], given: list[list[str]]) -> int:
    heard = await asyncio.gather(*(t.hear(f) for t, f in zip(tracks, given, strict=True)))
    return sum(heard)


def _used_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
