"""Lines and speech joined into segments, in the order in which they were said.

A final line waits for its vector, and every later line waits with it, so that what a line means
never depends on which vector was computed first. Speech that no line claims within `LINE_GRACE_S`
of call time becomes a segment of its own, scored by its sound alone.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_sidecar.domain.events import LineEmbedded, LineHeard, SpeechHeard
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Party
from agent_sidecar.domain.words import tokens

# a final that repeats the party's last one within this is the same line
REPEAT_S = 5.0
LINE_GRACE_S = 6.0
# a usual pace: what a line without audio is assumed to have taken
WORDS_PER_S = 2.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What one party said in one go: words, sound, or both; seconds of call time."""

    party: Party
    text: str
    at: datetime
    start_s: float
    end_s: float
    confidence: float | None = None
    vector: bytes | None = None
    acoustics: Acoustics | None = None
    word_count: int = 0


@dataclass(slots=True)
class _Waiting:
    line: LineHeard
    embedded: bool = False
    vector: bytes | None = None


class LineJoiner:
    """Joins the lines and the speech of one call."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._waiting: deque[_Waiting] = deque()
        self._speech: dict[Party, list[SpeechHeard]] = {}
        self._last: dict[Party, tuple[str, datetime]] = {}
        self._seen: set[str] = set()

    def hear(self, line: LineHeard) -> bool:
        """Take a final line; False when it only repeats one."""
        text = " ".join(tokens(line.text))
        last_text, last_at = self._last.get(line.party, ("", line.at))
        repeats = text == last_text and abs((line.at - last_at).total_seconds()) <= REPEAT_S
        if line.line_id in self._seen or repeats or not line.text.strip():
            return False
        self._seen.add(line.line_id)
        self._last[line.party] = (text, line.at)
        self._waiting.append(_Waiting(line))
        return True

    def embed(self, event: LineEmbedded) -> None:
        """Take the vector of a line."""
        for waiting in self._waiting:
            if waiting.line.line_id == event.line_id:
                waiting.embedded, waiting.vector = True, event.vector

    def hear_speech(self, speech: SpeechHeard) -> None:
        """Take a stretch of speech."""
        self._speech.setdefault(speech.party, []).append(speech)

    def unembedded(self) -> Iterator[LineHeard]:
        """Yield the lines whose vector never came."""
        yield from (waiting.line for waiting in self._waiting if not waiting.embedded)

    def ready(self, *, now_s: float, everything: bool = False) -> Iterator[Utterance]:
        """Yield what can be understood now; `everything`: the call is over, wait for nothing."""
        while self._waiting and (self._waiting[0].embedded or everything):
            waiting = self._waiting.popleft()
            yield self._join(waiting.line, waiting.vector)
        if not self._waiting:
            yield from self._unclaimed(now_s if not everything else float("inf"))

    def _join(self, line: LineHeard, vector: bytes | None) -> Utterance:
        end_s = max(0.0, (line.at - self._started_at).total_seconds())
        words = len(tokens(line.text))
        heard = [s for s in self._speech.pop(line.party, []) if s.start_s <= end_s + 1.0]
        acoustics = _together(heard, words) if heard else None
        start_s = heard[0].start_s if heard else max(0.0, end_s - words / WORDS_PER_S)
        return Utterance(
            party=line.party,
            text=line.text.strip(),
            at=line.at,
            start_s=round(min(start_s, end_s), 3),
            end_s=round(end_s, 3),
            confidence=line.confidence,
            vector=vector,
            acoustics=acoustics,
            word_count=words,
        )

    def _unclaimed(self, now_s: float) -> Iterator[Utterance]:
        for party, heard in self._speech.items():
            while heard and heard[0].end_s + LINE_GRACE_S <= now_s:
                speech = heard.pop(0)
                yield Utterance(
                    party=party,
                    text="",
                    at=self._started_at + timedelta(seconds=speech.end_s),
                    start_s=speech.start_s,
                    end_s=speech.end_s,
                    acoustics=speech.acoustics,
                )


def _together(heard: list[SpeechHeard], words: int) -> Acoustics:
    """Return the sound of several stretches as one: means weighted by talk time, sums of times."""
    sounds = [speech.acoustics for speech in heard]
    talk_s = sum(sound.talk_s for sound in sounds)

    def mean(name: str) -> float | None:
        known = [(getattr(s, name), s.talk_s) for s in sounds if getattr(s, name) is not None]
        weight = sum(w for _, w in known)
        return round(sum(v * w for v, w in known) / weight, 3) if weight else None

    return Acoustics(
        tonal_shift_st=mean("tonal_shift_st"),
        pace_wpm=round(60.0 * words / talk_s, 1) if talk_s else None,
        pause_s=round(sum(sound.pause_s or 0.0 for sound in sounds), 3),
        volume_dbfs=mean("volume_dbfs"),
        response_latency_s=sounds[0].response_latency_s,
        overtalk_s=round(sum(sound.overtalk_s for sound in sounds), 3),
        talk_s=round(talk_s, 3),
    )
