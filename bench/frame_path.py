"""CPU per media frame: our media socket against a raw server that only reads, in the same run.

Both servers are processes of their own and are sent the same frames by the same client (this
process), paced as Telnyx paces them, in alternating rounds. What counts is the ratio: the
microseconds of one machine, or of one hour, say little about another.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec

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
from bench._streams import TRACKS, Paced, PacedStream, Pacer, new_leg, sample_audio

LABELS = {
    "calls": "calls",
    "frames": "frames sent in all measured rounds",
    "floor_us": "floor: CPU a frame, us",
    "ours_us": "ours: CPU a frame, us",
    "ratio_floor": "ours / floor",
    "calls_per_core": "calls that fill a core (1e4 / us)",
    "loop_lag_p99_ms": "ours: event loop late, p99 ms",
    "floor_loop_lag_p99_ms": "floor: event loop late, p99 ms",
    "frames_lost": "frames the listeners missed",
    "speech": "stretches of speech heard",
    "client_late_p99_ms": "the client sent late, p99 ms",
}
_WARM_UP_S = 1.0
_SETTLE_S = 0.5


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls, given.seconds = min(given.calls, 50), min(given.seconds, 5)
        given.rounds = min(given.rounds, 3)
    load = {
        "quick": given.quick,
        "calls": given.calls,
        "seconds": given.seconds,
        "rounds": given.rounds,
    }
    said = document("frame_path", load, "aiohttp", "uvloop", "msgspec", "numpy")
    said |= measure(given.calls, given.seconds, given.rounds)
    tell(said, LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="at most 50 calls, 3 rounds of 5 s")
    made.add_argument("--calls", type=positive, default=100)
    made.add_argument("--seconds", type=positive, default=10, help="length of a round")
    made.add_argument("--rounds", type=positive, default=5, help="of each of the two servers")
    return made.parse_args(given)


def measure(calls: int, seconds: int, rounds: int) -> Document:
    """Play alternating rounds; return the medians, and each round."""
    _take_core(-1)
    with ExitStack() as exits:
        servers = {kind: exits.enter_context(_Server(kind)) for kind in _KINDS}
        played: dict[Kind, list[Document]] = {kind: [] for kind in _KINDS}
        for number in range(rounds):
            for kind, server in servers.items():
                one = _play(server, calls, seconds)
                played[kind].append(one)
                screen.print(
                    f"[dim]round {number + 1} of {rounds}, {kind}: {one['us']:.1f} us a frame[/]"
                )
    return summary(played["floor"], played["ours"])


_KINDS: tuple[Kind, Kind] = ("floor", "ours")


def summary(floor: Sequence[Document], ours: Sequence[Document]) -> Document:
    """Return what the rounds say together; the ratio is of rounds that were neighbours."""
    below, above = medians(floor), medians(ours)
    ratios = [b["us"] / a["us"] for a, b in zip(floor, ours, strict=True)]
    return {
        "frames": sum(one["frames"] for one in (*floor, *ours)),
        "floor_us": below["us"],
        "ours_us": above["us"],
        "ratio_floor": round(statistics.median(ratios), 2),
        "calls_per_core": round(1e4 / above["us"]),
        "loop_lag_p99_ms": above["lag_p99_ms"],
        "floor_loop_lag_p99_ms": below["lag_p99_ms"],
        "frames_lost": sum(one["frames_lost"] for one in ours),
        "speech": sum(one["speech"] for one in ours),
        "client_late_p99_ms": above["client_late_p99_ms"],
        "rounds_floor_us": [one["us"] for one in floor],
        "rounds_ours_us": [one["us"] for one in ours],
    }


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
        "client_late_p99_ms": percentiles_ms("", pacer.paced.late_s, 99)["p99_ms"],
    }


def _check_all_heard(sent: int, ended: Account) -> None:
    """Refuse rounds in which the server fell behind: it would look cheap."""
    heard = ended.heard_s / 0.02 * len(TRACKS)
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
