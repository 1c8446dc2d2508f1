"""How exactly both sides of a call are heard: calls with known truth, on lines of every kind.

Made conversations (`_spoken.py`; with espeak-ng on the machine also its speech, true as its clean
waveform says) go through what lines do (`_line.py`), are sent as PCMU frames through the listener
as live frames are, and what was heard is compared with what was said.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from agent_sidecar.domain.audio import G711
from agent_sidecar.domain.events import SpeechHeard
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.speech import Speech
from agent_sidecar.domain.types import Party, Track
from bench import _line as line
from bench._espeak import ESPEAK, espeak_conversation
from bench._report import Document, document, parser, positive, tell_rows
from bench._spoken import (
    PITCH_EVERY_S,
    RATE_HZ,
    TURN_GAP_S,
    Said,
    Spoken,
    Stretch,
    Wave,
    conversation,
    joined,
    overlap_s,
)

PARTIES: dict[Track, Party] = {"inbound": "prospect", "outbound": "agent"}
TRACKS: tuple[Track, Track] = ("inbound", "outbound")
# what the product promises of a turn's edges, of pauses and of pitch
EDGE_S, PAUSE_ERROR_S, SEMITONES = 0.12, 0.1, 1.0
_WINDOW = round(0.04 / PITCH_EVERY_S)
# heard speech so close to what was said is not false
_NEAR_S = 0.15


class Ears(Listener):
    """A listener that keeps what it heard of each track."""

    def __init__(self) -> None:
        """Hear PCMU from second 0 on."""
        decoders = {track: G711.ulaw() for track in TRACKS}
        super().__init__(decoders, start_s=0.0, parties=PARTIES)
        self.speeches: dict[Track, list[Speech]] = {track: [] for track in TRACKS}
        self.told: list[SpeechHeard] = []

    def _tell(self, track: Track, speech: Speech) -> SpeechHeard:
        self.speeches[track].append(speech)
        self.told.append(super()._tell(track, speech))
        return self.told[-1]


@dataclass(slots=True)
class Call:
    """Both tracks of a call as they are sent, and what is true of them."""

    truth: Spoken
    tracks: tuple[Wave, Wave]
    # what the network does to the frames
    travel: Callable[[list[MediaFrame]], list[MediaFrame]] = lambda frames: frames


@dataclass(slots=True)
class Score:
    """Counts over calls."""

    turns: int = 0
    starts: int = 0
    ends: int = 0
    both: int = 0
    overtalk_s: float = 0.0
    overtalk_heard_s: float = 0.0
    windows: int = 0
    pitched: int = 0
    pauses: int = 0
    pauses_right: int = 0
    syllables: int = 0
    syllables_heard: int = 0
    false_s: float = 0.0
    missed_s: float = 0.0
    masked_s: float = 0.0
    edge_errors_s: list[float] = field(default_factory=list)

    def add(self, call: Call, ears: Ears) -> None:
        """Compare one call."""
        for truth, track in zip(call.truth, TRACKS, strict=True):
            heard = ears.speeches[track]
            spans = joined([span for speech in heard for span in speech.spans], 0.001)
            self._add_turns(truth.turns, joined(spans, TURN_GAP_S))
            self._add_pauses(truth.talk, spans)
            self._add_pitch(truth, heard)
            self.syllables += len(truth.syllables_s)
            self.syllables_heard += sum(speech.syllables for speech in heard)
            near = joined([(a - _NEAR_S, b + _NEAR_S) for a, b in truth.talk], 0.0)
            talk_s = sum(b - a for a, b in spans)
            self.false_s += talk_s - overlap_s(spans, near)
            self.missed_s += sum(b - a for a, b in truth.talk) - overlap_s(truth.talk, spans)
        self.overtalk_s += overlap_s(call.truth[0].talk, call.truth[1].talk)
        self.overtalk_heard_s += sum(speech.acoustics.overtalk_s for speech in ears.told)
        self.masked_s += ears.masked_s

    def _add_turns(self, turns: Sequence[Stretch], heard: Sequence[Stretch]) -> None:
        for start_s, end_s in turns:
            found = _most_alike((start_s, end_s), heard)
            errors_s = found[0] - start_s, found[1] - end_s
            self.edge_errors_s += errors_s
            right = [abs(error_s) <= EDGE_S for error_s in errors_s]
            self.turns += 1
            self.starts += right[0]
            self.ends += right[1]
            self.both += all(right)

    def _add_pauses(self, talk: Sequence[Stretch], spans: Sequence[Stretch]) -> None:
        silent = _gaps(spans)
        for pause in _gaps(talk):
            found = _most_alike(pause, silent)
            self.pauses += 1
            error_s = (found[1] - found[0]) - (pause[1] - pause[0])
            self.pauses_right += abs(error_s) <= PAUSE_ERROR_S

    def _add_pitch(self, truth: Said, heard: Sequence[Speech]) -> None:
        """Compare each window that is voiced throughout with what was heard nearest to it."""
        pitches = np.array([pitch for speech in heard for pitch in speech.pitches]).reshape(-1, 2)
        for first in range(0, truth.pitch_hz.size - _WINDOW, _WINDOW):
            if not (truth.pitch_hz[first : first + _WINDOW] > 0).all():
                continue
            self.windows += 1
            middle_s = (first + _WINDOW / 2) * PITCH_EVERY_S
            away_s = np.abs(pitches[:, 0] - middle_s)
            if away_s.size and away_s.min() <= _WINDOW / 2 * PITCH_EVERY_S + 1e-6:
                at_s, hz = pitches[int(away_s.argmin())]
                # the truth where it was heard: a pitch moves
                place = round(at_s / PITCH_EVERY_S) - _WINDOW // 2
                there = truth.pitch_hz[max(0, place) : place + _WINDOW]
                away = 12 * np.log2(hz / float(np.median(there[there > 0])))
                self.pitched += abs(float(away)) <= SEMITONES

    def row(self, name: str) -> Document:
        """Return what is told of it."""
        found = self.overtalk_heard_s - self.overtalk_s
        return {
            "condition": name,
            "turns": self.turns,
            "edges_pct": _percent(self.both, self.turns),
            "starts_pct": _percent(self.starts, self.turns),
            "ends_pct": _percent(self.ends, self.turns),
            "overtalk_s": round(self.overtalk_s, 1),
            "overtalk_error_pct": _percent(found, self.overtalk_s),
            "pitch_pct": _percent(self.pitched, self.windows),
            "pauses_pct": _percent(self.pauses_right, self.pauses),
            "syllables_pct": _percent(self.syllables_heard, self.syllables),
            "false_s": round(self.false_s, 2),
            "missed_s": round(self.missed_s, 2),
            "masked_s": round(self.masked_s, 1),
        }


def _percent(part: float, whole: float) -> float | None:
    return round(100.0 * part / whole, 1) if whole else None


def _gaps(spans: Sequence[Stretch]) -> list[Stretch]:
    return [(a[1], b[0]) for a, b in pairwise(spans)]


def _most_alike(one: Stretch, others: Sequence[Stretch]) -> Stretch:
    """Return which of the others overlaps it most; far away when there is none."""
    return max(others, key=lambda other: overlap_s([one], [other]), default=(-9.0, -9.0))


Condition = Callable[[Spoken, int], Call]


def plain(change: Callable[[Wave, int], Wave]) -> Condition:
    """Return a condition that changes each track alone."""

    def made(truth: Spoken, seed: int) -> Call:
        tracks = [change(said.samples, 2 * seed + n) for n, said in enumerate(truth)]
        return Call(truth, (tracks[0], tracks[1]))

    return made


def travelling(travel: Callable[[list[MediaFrame], int], list[MediaFrame]]) -> Condition:
    """Return a condition that does something to the frames; the line has a little noise."""

    def made(truth: Spoken, seed: int) -> Call:
        tracks = [_quiet_line(said.samples, seed + n) for n, said in enumerate(truth)]
        return Call(truth, (tracks[0], tracks[1]), lambda frames: travel(frames, seed))

    return made


def _quiet_line(wave: Wave, seed: int) -> Wave:
    return wave + line.noise(wave.size, 35, seed)


def gated(truth: Spoken, seed: int) -> Call:
    """Send digital silence between words, and the noise of the line with them."""
    tracks = [
        line.gated(said.samples + line.noise(said.samples.size, 35, seed + n), said.turns)
        for n, said in enumerate(truth)
    ]
    return Call(truth, (tracks[0], tracks[1]))


def echoed(delay_s: float, loss_db: float) -> Condition:
    """Let the agent's voice leak into the prospect's track."""

    def made(truth: Spoken, seed: int) -> Call:
        prospect, agent = truth
        leak = line.echo_of(agent.samples, delay_s=delay_s, loss_db=loss_db, seed=seed)
        hiss = line.noise(leak.size, 35, seed)
        return Call(truth, (prospect.samples + leak + hiss, agent.samples + hiss[::-1]))

    return made


def held(sound: Wave, track: int) -> Condition:
    """Put somebody on hold: 1 s after both have spoken there is only that sound, on one track."""

    def made(truth: Spoken, seed: int) -> Call:
        last_s = max(said.active[-1][1] for said in truth)
        start = round((last_s + 1.0) * RATE_HZ)
        tracks = []
        for number, said in enumerate(truth):
            one = np.concatenate((said.samples[:start], sound if number == track else 0 * sound))
            tracks.append(_quiet_line(one, seed + number))
        return Call(truth, (tracks[0], tracks[1]))

    return made


CONDITIONS: dict[str, Condition] = {
    "clean": plain(lambda wave, _: wave),
    "noise 20 dB": plain(lambda wave, seed: wave + line.noise(wave.size, 20, seed)),
    "low noise 20 dB": plain(
        lambda wave, seed: wave + line.noise(wave.size, 20, seed, tilted=True)
    ),
    "12 dB louder": plain(lambda wave, seed: line.gain(_quiet_line(wave, seed), 12)),
    "12 dB quieter": plain(lambda wave, seed: line.gain(_quiet_line(wave, seed), -12)),
    "level changes": plain(
        lambda wave, seed: line.levels_change(
            wave + line.noise(wave.size, 30, seed), 7.0, (0.0, 12.0, -12.0, 6.0)
        )
    ),
    "5 % lost": travelling(lambda frames, seed: line.lose(frames, 0.05, seed)),
    "5 % lost in bursts": travelling(lambda frames, seed: line.lose(frames, 0.05, seed, burst=4)),
    "reordered": travelling(lambda frames, seed: line.shuffle(frames, 3, seed)),
    "gated": gated,
    "echo 20 ms -6 dB": echoed(0.020, 6),
    "echo 130 ms -15 dB": echoed(0.130, 15),
    "echo 400 ms -10 dB": echoed(0.400, 10),
    "echo 250 ms -30 dB": echoed(0.250, 30),
    **{f"music {tune}": held(line.music(15.0, tune), 1) for tune in line.TUNES},
    "music in": held(line.music(15.0, "band", 3), 0),
    **{f"ringback {name}": held(line.tones(12.0, *how), 1) for name, how in line.RINGBACK.items()},
}
QUICK = ("clean", "noise 20 dB", "5 % lost", "echo 130 ms -15 dB", "music band", "ringback us")


def hear(call: Call) -> Ears:
    """Send a call through the listener as live frames are."""
    ears = Ears()
    for frame in call.travel(line.frames(*call.tracks, line.pcmu)):
        ears.receive(frame)
    ears.flush()
    return ears


def measure(truths: Sequence[Spoken], names: Sequence[str]) -> list[Document]:
    """Return a row for each condition."""
    rows = []
    for name in names:
        score = Score()
        for seed, truth in enumerate(truths):
            call = CONDITIONS[name](truth, seed)
            score.add(call, hear(call))
        rows.append(score.row(name))
    return rows


def main() -> None:
    given = arguments()
    names = [name for name in CONDITIONS if not given.only or given.only in name]
    if given.quick:
        names = [name for name in names if name in QUICK]
    if given.quick:
        given.calls, given.seconds = min(given.calls, 2), min(given.seconds, 40)
    load = {"quick": given.quick, "calls": given.calls, "seconds": given.seconds}
    said = document("hearing", load, "numpy")
    seeds = range(given.calls)
    said["conditions"] = measure([conversation(seed, given.seconds) for seed in seeds], names)
    if ESPEAK is not None:
        truths = [espeak_conversation(seed, given.seconds) for seed in seeds]
        rows = measure(truths, [name for name in names if not name.startswith(("music", "ring"))])
        said["conditions"] += [{**row, "condition": f"espeak, {row['condition']}"} for row in rows]
    tell_rows(said, narrow(said["conditions"]), given)


# what fits on a screen
SHOWN = {
    "condition": "condition",
    "edges_pct": "edges",
    "overtalk_error_pct": "overtalk",
    "pitch_pct": "pitch",
    "pauses_pct": "pauses",
    "false_s": "false s",
    "masked_s": "masked s",
}


def narrow(rows: Sequence[Document]) -> list[Document]:
    """Return what people look at first, and a terminal has room for: per cent, but for seconds."""
    return [{short: row[name] for name, short in SHOWN.items()} for row in rows]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="2 calls of 40 s, fewer conditions")
    made.add_argument("--calls", type=positive, default=6, help="conversations")
    made.add_argument("--only", help="conditions whose name has this in it")
    made.add_argument("--seconds", type=positive, default=60, help="length of each")
    return made.parse_args(given)


if __name__ == "__main__":
    main()
