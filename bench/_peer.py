"""Pipecat as a process beside ours, in an environment of its own: its pins are not ours."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct

from agent_sidecar.domain.types import Track
from agent_sidecar.simulator.frames import FRAME_BYTES, FRAME_S, FrameWriter, frame_audio
from bench._report import screen
from bench._streams import TRACKS, new_leg, sample_audio

_HERE = Path(__file__).parent
PINS = _HERE / "pipecat.txt"
# of calls whose frames make one of its rounds, and seconds of each
_CALLS, _AUDIO_S = 10, 2.0
_FRAMES = round(_AUDIO_S / FRAME_S)
_MAKE_S = 600


class _Answer(Struct):
    cpu_s: float
    # frames in which it heard somebody speak
    speaking: int


class Pipecat:
    """Hears frames, a round at a time."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._writers = [FrameWriter(new_leg()) for _ in range(_CALLS)]
        self._round = 0

    def play(self) -> tuple[float, float]:
        """Return the CPU microseconds a frame, and the share of frames in which it heard speech."""
        tracks = [self._frames(call, track) for call in range(_CALLS) for track in TRACKS]
        self._round += 1
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(msgspec.json.encode(tracks) + b"\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit("Pipecat's process ended; what it said is above (or --no-pipecat)")
        answer = msgspec.json.decode(line, type=_Answer)
        frames = _CALLS * len(TRACKS) * _FRAMES
        return answer.cpu_s / frames * 1e6, answer.speaking / frames

    def _frames(self, call: int, track: Track) -> list[str]:
        audio = sample_audio()[track]
        length = len(audio) // FRAME_BYTES
        # every call is somewhere else in the conversation, and goes on where it was
        first = call * length // _CALLS + self._round * _FRAMES
        return [
            self._writers[call].media(track, frame_audio(audio, (first + n) % length))
            for n in range(_FRAMES)
        ]


@contextmanager
def opened(python: Path, take_core: Callable[[], None]) -> Iterator[Pipecat]:
    """Run it for the block."""
    child = subprocess.Popen(  # noqa: S603
        [python, _HERE / "_pipecat.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=take_core,
    )
    try:
        peer = Pipecat(child)
        peer.play()  # loads its models
        yield peer
    finally:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()


def interpreter(named: Path | None, *, make: bool) -> Path | None:
    """Return the interpreter that has it; None: there is none, and what to do has been said."""
    if named is not None:
        return named
    if find_spec("pipecat") is not None:
        return Path(sys.executable)
    place = Path(sys.prefix) / "pipecat"
    python = place / "bin" / "python"
    if not python.exists() and not (make and _make(place, python)):
        screen.print(
            f"[yellow]without Pipecat: install it with[/] {sys.executable} -m venv {place} &&"
            f" {python} -m pip install -r {PINS}, or name an interpreter: --pipecat-python"
        )
        return None
    return python


def _make(place: Path, python: Path) -> bool:
    screen.print(f"making {place} for Pipecat, once (about 150 MB to download)")
    quietly = ["-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    install = [str(python), *quietly, "-r", str(PINS)]
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", str(place)], install):
            subprocess.run(command, check=True, timeout=_MAKE_S, stdout=sys.stderr)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as exc:
        screen.print(f"[yellow]that failed: {exc}[/]")
        python.unlink(missing_ok=True)  # half an environment must not pass for one
        return False
    return True
