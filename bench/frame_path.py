"""CPU per media frame: our media socket against a raw server that only reads, and Pipecat.

Both servers are processes of their own and are sent the same frames by the same client (this
process), paced as Telnyx paces them, in alternating rounds; Pipecat is a third, with frames of the
same audio. What counts is the ratios: the microseconds of one machine, or of one hour, say little
about another.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from agent_sidecar.simulator.frames import FRAME_S
from bench import _peer
from bench._frame_servers import Account, Kind
from bench._report import (
    Document,
    document,
    medians,
    parser,
    percentiles_ms,
    positive,
    screen,
    tell,
)
from bench._streams import TRACKS, Paced, PacedStream, Pacer, new_leg, sample_audio, spoken

LABELS = {
    "calls": "calls",
    "frames": "frames sent in all measured rounds",
    "voiced_percent": "of each track, speech, %",
    "floor_us": "floor: CPU a frame, us",
    "ours_us": "ours: CPU a frame, us",
    "ratio_floor": "ours / floor",
    "pipecat_us": "Pipecat's serializer and Silero: CPU a frame, us",
    "ratio_pipecat": "Pipecat / ours",
    "calls_per_core": "calls that fill a core (1e4 / us)",
    "loop_lag_p99_ms": "ours: event loop late, p99 ms",
    "floor_loop_lag_p99_ms": "floor: event loop late, p99 ms",
    "frames_lost": "frames the listeners missed",
    "speech": "stretches of speech heard",
    "client_late_p99_ms": "the client sent late, p99 ms",
}
_WARM_UP_S = 1.0
_SETTLE_S = 0.5
_KINDS: tuple[Kind, Kind] = ("floor", "ours")


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls = [min(calls, 50) for calls in given.calls[:1]]
        given.seconds, given.rounds = min(given.seconds, 5), min(given.rounds, 3)
    python = None
    if not given.no_pipecat:
        python = _peer.interpreter(given.pipecat_python, make=not given.quick)
    load = {
        "quick": given.quick,
        "calls": given.calls[0],
        "seconds": given.seconds,
        "rounds": given.rounds,
    }
    said = document("frame_path", load, "aiohttp", "uvloop", "msgspec", "numpy")
    said |= measure(given.calls, given.seconds, given.rounds, python)
    tell(said, LABELS, given)
    if not given.json:
        _tell_others(said["loads"][1:])


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="at most 50 calls, 3 rounds of 5 s")
    made.add_argument(
        "--calls",
        type=_calls,
        default=[100, 300],
        help="one load or several, as 100,300: the first is the one that is told of at the top",
    )
    made.add_argument("--seconds", type=positive, default=10, help="length of a round")
    made.add_argument("--rounds", type=positive, default=5, help="of each of the two servers")
    made.add_argument("--no-pipecat", action="store_true", help="compare with the floor only")
    made.add_argument(
        "--pipecat-python",
        type=Path,
        help="an interpreter with pipecat-ai; by default this one if it has it, else that of an"
        " environment beside it, which is made when it is missing (not with --quick)",
    )
    return made.parse_args(given)


def _calls(text: str) -> list[int]:
    return [positive(one) for one in text.split(",")]


def measure(loads: Sequence[int], seconds: int, rounds: int, python: Path | None) -> Document:
    """Play alternating rounds; return the medians of each load, the first one's on top."""
    _take_core(-1)
    played: dict[tuple[int, Kind], list[Document]] = {}
    peer_rounds: list[tuple[float, float]] = []
    with ExitStack() as exits:
        servers = {kind: exits.enter_context(_Server(kind)) for kind in _KINDS}
        peer = exits.enter_context(_peer.opened(python, lambda: _take_core(0))) if python else None
        for number in range(rounds):
            said = f"round {number + 1} of {rounds}"
            for calls in loads:
                for kind, server in servers.items():
                    one = _play(server, calls, seconds)
                    played.setdefault((calls, kind), []).append(one)
                    screen.print(f"[dim]{said}, {calls} calls, {kind}: {one['us']:.1f} us a frame")
            if peer is not None:
                peer_rounds.append(peer.play())
                screen.print(f"[dim]{said}, Pipecat: {peer_rounds[-1][0]:.1f} us a frame")
    each = [
        {"calls": calls} | summary(played[calls, "floor"], played[calls, "ours"], peer_rounds)
        for calls in loads
    ]
    return {**each[0], "voiced_percent": voiced_percent(), "loads": each}


def summary(
    floor: Sequence[Document], ours: Sequence[Document], pipecat: Sequence[tuple[float, float]]
) -> Document:
    """Return what the rounds say together; the ratios are of rounds that were neighbours."""
    below, above = medians(floor), medians(ours)
    said = {
        "frames": sum(one["frames"] for one in (*floor, *ours)),
        "floor_us": below["us"],
        "ours_us": above["us"],
        "ratio_floor": _ratio([(b["us"], a["us"]) for a, b in zip(floor, ours, strict=True)]),
        "calls_per_core": round(1e4 / above["us"]),
        "loop_lag_p99_ms": above["lag_p99_ms"],
        "floor_loop_lag_p99_ms": below["lag_p99_ms"],
        "frames_lost": sum(one["frames_lost"] for one in ours),
        "speech": sum(one["speech"] for one in ours),
        "heard_voiced_percent": above["voiced_percent"],
        "client_late_p99_ms": above["client_late_p99_ms"],
        "rounds_floor_us": [one["us"] for one in floor],
        "rounds_ours_us": [one["us"] for one in ours],
    }
    if not pipecat:
        return said
    theirs = [us for us, _ in pipecat]
    return said | {
        "pipecat_us": round(statistics.median(theirs), 2),
        "ratio_pipecat": _ratio([(them, us["us"]) for them, us in zip(theirs, ours, strict=True)]),
        "pipecat_voiced_percent": round(100 * statistics.median(share for _, share in pipecat), 1),
        "rounds_pipecat_us": [round(us, 2) for us in theirs],
    }


def _ratio(neighbours: Sequence[tuple[float, float]]) -> float:
    return round(statistics.median(one / other for one, other in neighbours), 2)


def voiced_percent() -> float:
    """Return how much of what is sent is speech, over both tracks."""
    frames = np.concatenate([spoken(audio) for audio in sample_audio().values()])
    return round(100 * float(frames.mean()), 1)


def _tell_others(loads: Sequence[Document]) -> None:
    for load in loads:
        said = ", ".join(
            f"{label} {load[name]}"
            for name, label in LABELS.items()
            if name in ("ratio_floor", "ratio_pipecat", "ours_us", "loop_lag_p99_ms")
            and name in load
        )
        print(f"{load['calls']} calls: {said}")


class _Server:
    """One of the servers, for as long as the block lasts."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bench._frame_servers", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: _take_core(0),
        )
        self.url = ""

    def __enter__(self) -> "_Server":
        port = msgspec.json.decode(self._line(), type=dict[str, int])["port"]
        self.url = f"ws://127.0.0.1:{port}/telnyx/media?token=opens-it"
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(timeout=10)
        self._child.stdout.close()

    def account(self) -> Account:
        """Return what happened there since this was last asked."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"?\n")
        self._child.stdin.flush()
        return msgspec.json.decode(self._line(), type=Account)

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"the server {self.kind!r} ended; what it said is above")
        return line


def _play(server: _Server, calls: int, seconds: int) -> Document:
    pacer = Pacer()
    for _ in range(calls):
        pacer.add(PacedStream(server.url, new_leg(), upgrade=server.kind == "ours"))
    try:
        pacer.run(time.monotonic() + _WARM_UP_S)
        warm_up, pacer.paced = pacer.paced, Paced()
        server.account()
        pacer.run(time.monotonic() + seconds)
        measured = server.account()
    finally:
        pacer.close()
    time.sleep(_SETTLE_S)
    ended = server.account()
    sent = pacer.paced.frames
    if pacer.paced.lost or warm_up.lost:
        raise SystemExit(f"the server {server.kind!r} ended streams: there is no result")
    if server.kind == "ours":
        _check_all_heard(warm_up.frames + sent, ended)
    return {
        "us": round(measured.cpu_s / sent * 1e6, 2),
        "frames": sent,
        "lag_p99_ms": measured.lag_p99_ms,
        "frames_lost": ended.frames_lost,
        "speech": measured.speech + ended.speech,
        "voiced_percent": _heard_percent(warm_up.frames + sent, measured, ended),
        "client_late_p99_ms": percentiles_ms("", pacer.paced.late_s, 99)["p99_ms"],
    }


def _heard_percent(frames: int, *accounts: Account) -> float:
    """Return how much of the audio was heard as speech; what was open at the warm-up is in it."""
    return round(100 * sum(a.talk_s for a in accounts) / (frames * FRAME_S), 1)


def _check_all_heard(sent: int, ended: Account) -> None:
    """Refuse rounds in which the server fell behind: it would look cheap."""
    heard = ended.heard_s / FRAME_S * len(TRACKS)
    if heard < 0.99 * sent:
        raise SystemExit(f"only {heard:.0f} of {sent} frames were heard: too many calls for it")


def _take_core(number: int) -> None:
    """Keep to one core, the servers to the first and the client to the last, where we may."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number]})


if __name__ == "__main__":
    sample_audio()
    main()
