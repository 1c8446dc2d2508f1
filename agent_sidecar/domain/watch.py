"""Notices that a call is heard by half only: audio without words, or words without audio.

Counted in what was heard, never in wall time: somebody has spoken for `silence_s` seconds since his
last words, so his words are lost; words came for `silence_s` without any sound. Words may come only
when an answer has ended: it counts once he began another, or `LINE_GRACE_S` have passed. Lost words
are answered by one restart of the transcription, then by an alert; words that come again end both.
A call that is not ours to command is only alerted. Scoring goes on meanwhile by what there is.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_sidecar.domain.events import (
    LineHeard,
    LineSource,
    PublishDegraded,
    RestartStream,
    RestartTranscription,
    SpeechHeard,
    StreamChanged,
)
from agent_sidecar.domain.lines import LINE_GRACE_S
from agent_sidecar.domain.speech import HANGOVER_S
from agent_sidecar.domain.types import Leg, Party

# speech without words before the transcription counts as silent, seconds
SILENCE_S = 20.0
# restarts in one call of what keeps failing
MOST_RESTARTS = 3
# lines without any sound before the stream counts as mute
MUTE_LINES = 3

WatchEffect = RestartTranscription | RestartStream | PublishDegraded


@dataclass(slots=True)
class _Answer:
    """What was said without a pause, however often it was cut."""

    talk_s: float
    ended_at: datetime


class Watch:
    """What one call is heard by."""

    def __init__(
        self, silence_s: float, leg_of: Callable[[Party], Leg | None], *, may_command: bool
    ) -> None:
        """`leg_of` tells the leg that a party is on now."""
        self._silence_s = silence_s
        self._leg_of = leg_of
        self._may_command = may_command
        # what each party said since its last words
        self._wordless: defaultdict[Party, list[_Answer]] = defaultdict(list)
        # whose words come by transcription at all, and from which leg
        self._expected: dict[Party, LineSource] = {"prospect": "own_leg"}
        self._restarted: set[Party] = set()
        self._silent: set[Party] = set()
        self._restarts: Counter[str] = Counter()
        # since when a stream is there without sound; None: no stream
        self._mute_since: datetime | None = None
        self._mute_lines = 0
        self._lacks: set[str] = set()

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the call has to do without now."""
        return tuple(sorted(self._lacks))

    def hear_line(self, line: LineHeard) -> Iterator[WatchEffect]:
        """Take words, interim ones too."""
        if line.source != "told":
            self._expected[line.party] = line.source
            yield from self._miss_sound(line)
        self._wordless[line.party].clear()
        self._restarted.discard(line.party)
        self._silent.discard(line.party)
        if not self._silent:
            yield from self._regain("transcript", f"words of the {line.party} come again")
        yield from self._miss_words(line.at)

    def hear_speech(self, speech: SpeechHeard, at: datetime) -> Iterator[WatchEffect]:
        """Take the sound of a voice that ended `at`."""
        self._mute_lines = 0
        if self._mute_since is not None:
            self._mute_since = max(self._mute_since, at)
        yield from self._regain("audio", "sound comes again")
        if speech.party in self._expected:
            self._remember(speech, at)
        yield from self._miss_words(at)

    def _remember(self, speech: SpeechHeard, at: datetime) -> None:
        length_s = speech.end_s - speech.start_s
        talk_s = speech.acoustics.talk_s or length_s
        said = self._wordless[speech.party]
        began_at = at - timedelta(seconds=length_s)
        if said and (began_at - said[-1].ended_at).total_seconds() < HANGOVER_S:
            said[-1].talk_s += talk_s
            said[-1].ended_at = max(at, said[-1].ended_at)
        else:
            said.append(_Answer(talk_s, at))

    def _miss_words(self, at: datetime) -> Iterator[WatchEffect]:
        for party, said in self._wordless.items():
            waits = not said or (at - said[-1].ended_at).total_seconds() < LINE_GRACE_S
            over = said[:-1] if waits else said
            if sum(answer.talk_s for answer in over) >= self._silence_s:
                del said[: len(over)]
                yield from self._answer_silence(party)

    def _answer_silence(self, party: Party) -> Iterator[WatchEffect]:
        reason = f"the {party} spoke for {self._silence_s:.0f} s and no words came"
        leg = self._leg_of(party if self._expected[party] == "own_leg" else "prospect")
        if party not in self._restarted and leg is not None and self._may_restart("words"):
            self._restarted.add(party)
            yield RestartTranscription(leg_id=leg.leg_id, reason=reason)
            return
        self._silent.add(party)
        yield from self._lack("transcript", reason)

    def change_stream(self, event: StreamChanged) -> Iterator[WatchEffect]:
        """Take what became of the media stream."""
        match event.kind:
            case "started":
                self._mute_since, self._mute_lines = event.at, 0
                yield from self._regain("audio", "the media stream is back")
            case "stopped":
                self._mute_since = None
            case "refused":
                yield from self._lack("audio", event.reason)
            case "failed" if self._mute_since is None:
                # of one that is there, the next will say so: an earlier try has failed
                yield from self._lack("audio", f"the media stream failed: {event.reason}")
                leg = self._leg_of("prospect")
                if leg is not None and self._may_restart("stream"):
                    yield RestartStream(leg_id=leg.leg_id, reason=event.reason)

    def _miss_sound(self, line: LineHeard) -> Iterator[WatchEffect]:
        since = self._mute_since
        if since is None or not line.is_final:
            return
        self._mute_lines += 1
        silent_s = (line.at - since).total_seconds()
        if self._mute_lines >= MUTE_LINES and silent_s >= self._silence_s:
            yield from self._lack(
                "audio", f"{self._mute_lines} lines came and no sound: is the right leg streamed?"
            )

    def _may_restart(self, what: str) -> bool:
        if not self._may_command or self._restarts[what] >= MOST_RESTARTS:
            return False
        self._restarts[what] += 1
        return True

    def _lack(self, what: str, reason: str) -> Iterator[PublishDegraded]:
        if what not in self._lacks:
            self._lacks.add(what)
            yield PublishDegraded(lacks=self.lacks, reason=reason)

    def _regain(self, what: str, reason: str) -> Iterator[PublishDegraded]:
        if what in self._lacks:
            self._lacks.discard(what)
            yield PublishDegraded(lacks=self.lacks, reason=reason)
