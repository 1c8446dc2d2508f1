"""Lines and speech joined into segments, in the order in which they were said.

A final line waits for its vector, and every later line waits with it, so that what a line means
never depends on which vector was computed first. Speech that no line claims within `LINE_GRACE_S`
of call time becomes a segment of its own, scored by its sound alone; it comes after the lines that
were said meanwhile, which could not wait for it.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_sidecar.domain.events import LineEmbedded, LineHeard, SpeechHeard
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Party, StrategyName
from agent_sidecar.domain.voices import WORDS_PER_S
from agent_sidecar.domain.words import tokens

# a final that repeats the party's last one within this is the same line ...
REPEAT_S = 5.0
# ... but people do say “yes” twice: one of so few words must follow at once
SHORT_WORDS, SHORT_REPEAT_S = 3, 1.0
# so many lines of a party are remembered for it
RECENT = 16
# heard on another leg as well, or told besides, a line comes again in nearly the same words
SAME_WORDS = 0.6
LINE_GRACE_S = 6.0
# a line's time is that of its recognition: its speech began and ended at most this much later
CLAIM_S = 1.0
# a faster pace than anybody's: the line's words were not all in the speech that it claimed
FASTEST_WPM = 400.0


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
    # labelled by a person; None: to be recognised
    strategy: StrategyName | None = None


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
        # each party's newest final lines: what comes late is compared as well
        self._recent: dict[Party, deque[LineHeard]] = {}
        # call time at which each party's last line ended
        self._told_s: dict[Party, float] = {}
        self._seen: set[str] = set()

    def hear(self, line: LineHeard) -> bool:
        """Take a final line; False when it only repeats one."""
        if line.line_id in self._seen or not line.text.strip() or self._repeats(line):
            return False
        self._seen.add(line.line_id)
        self._recent.setdefault(line.party, deque(maxlen=RECENT)).append(line)
        self._waiting.append(_Waiting(line))
        return True

    def embed(self, event: LineEmbedded) -> None:
        """Take the vector of a line."""
        for waiting in self._waiting:
            if waiting.line.line_id == event.line_id:
                waiting.embedded, waiting.vector = True, event.vector

    def hear_speech(self, speech: SpeechHeard) -> None:
        """Take a stretch of speech.

        What a line has told already is dropped: words come before the end of speech is certain, and
        do not wait for it.
        """
        told_s = self._told_s.get(speech.party)
        if told_s is not None and speech.start_s <= told_s and speech.end_s <= told_s + CLAIM_S:
            return
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
        self._told_s[line.party] = max(end_s, self._told_s.get(line.party, 0.0))
        words = len(tokens(line.text))
        waiting = self._speech.pop(line.party, [])
        heard = [s for s in waiting if s.start_s <= end_s + CLAIM_S]
        self._speech[line.party] = [s for s in waiting if s.start_s > end_s + CLAIM_S]
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
            strategy=line.strategy,
        )

    def _repeats(self, line: LineHeard) -> bool:
        if line.source == "recorded":
            return False
        return any(_is_same(line, other) for other in self._recent.get(line.party, ()))

    def _unclaimed(self, now_s: float) -> Iterator[Utterance]:
        due: list[SpeechHeard] = []
        for party, heard in self._speech.items():
            due += [s for s in heard if s.end_s + LINE_GRACE_S <= now_s]
            self._speech[party] = [s for s in heard if s.end_s + LINE_GRACE_S > now_s]
        for speech in sorted(due, key=lambda speech: speech.end_s):
            yield Utterance(
                party=speech.party,
                text="",
                at=self._started_at + timedelta(seconds=speech.end_s),
                start_s=speech.start_s,
                end_s=speech.end_s,
                acoustics=speech.acoustics,
            )


def _apart_s(one: LineHeard, other: LineHeard) -> float:
    return abs((one.at - other.at).total_seconds())


def _is_same(line: LineHeard, other: LineHeard) -> bool:
    words, others = _words(line), _words(other)
    within_s = SHORT_REPEAT_S if len(words) <= SHORT_WORDS else REPEAT_S
    if _apart_s(line, other) > within_s:
        return False
    if line.source == other.source:
        return words == others
    common = sum((Counter(words) & Counter(others)).values())
    return common >= SAME_WORDS * max(len(words), len(others))


def _words(line: LineHeard) -> list[str]:
    """Return what a repetition has in common; words of another script count as they are."""
    return tokens(line.text) or line.text.split()


def _together(heard: list[SpeechHeard], words: int) -> Acoustics:
    """Return the sound of several stretches as one: means weighted by talk time, sums of times."""
    sounds = [speech.acoustics for speech in heard]
    talk_s = sum(sound.talk_s for sound in sounds)

    def mean(name: str) -> float | None:
        known = [(getattr(s, name), s.talk_s) for s in sounds if getattr(s, name) is not None]
        weight = sum(w for _, w in known)
        return round(sum(v * w for v, w in known) / weight, 3) if weight else None

    pace_wpm = round(60.0 * words / talk_s, 1) if talk_s else None
    pauses = [sound.pause_s for sound in sounds if sound.pause_s is not None]
    return Acoustics(
        tonal_shift_st=mean("tonal_shift_st"),
        pace_wpm=pace_wpm if pace_wpm is None or pace_wpm <= FASTEST_WPM else None,
        pace_syl_s=mean("pace_syl_s"),
        pace_shift=mean("pace_shift"),
        pause_s=round(sum(pauses), 3) if pauses else None,
        # the silence before the first stretch is outside, all other is inside
        inner_pause_s=round(
            sounds[0].inner_pause_s + sum(sound.pause_s or 0.0 for sound in sounds[1:]), 3
        ),
        volume_dbfs=mean("volume_dbfs"),
        volume_shift_db=mean("volume_shift_db"),
        response_latency_s=sounds[0].response_latency_s,
        overtalk_s=round(sum(sound.overtalk_s for sound in sounds), 3),
        interruptions=sum(sound.interruptions for sound in sounds),
        talk_ratio=sounds[-1].talk_ratio,
        talk_s=round(talk_s, 3),
    )
