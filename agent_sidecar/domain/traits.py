"""What a lead's own lines tell about him, 0..1 each; None until enough was heard."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent_sidecar.domain.record import LeadTraits, TranscriptSegment
from agent_sidecar.domain.words import Phrases, tokens

# lines from which a trait is worth stating
ENOUGH_LINES = 3
# sentiment from which a line is warm
WARM = 0.25
# words a minute of a slow and of a fast speaker
SLOW_WPM, FAST_WPM = 110.0, 210.0

_SCEPTICAL = frozenset({"trust", "scheme", "not-interested", "do-not-call"})
_URGENT = Phrases(
    ["right now", "right away", "today", "this week", "this month", "soon", "as soon as", "urgent"]
)
_FORMAL = frozenset("sir madam please thank certainly indeed pardon regarding appreciate".split())
_CASUAL = frozenset("yeah yep nah gonna wanna gotta kinda dude cool hey stuff nope".split())
_TECHNICAL = frozenset(
    "computer laptop online internet website app apps software email video zoom download".split()
)


@dataclass(slots=True)
class TraitsHeard:
    """What was counted of a lead's lines so far: each is read once, however long the call."""

    lines: int = 0
    # lines that pull: warm, asking, or naming a next step
    pulling: int = 0
    sceptical: int = 0
    urgent: int = 0
    formal_words: int = 0
    casual_words: int = 0
    technical: int = 0
    technical_mood: float = 0.0
    paced: int = 0
    pace_wpm: float = 0.0

    def hear(self, segment: TranscriptSegment) -> None:
        """Count one segment; only the prospect's words tell about him."""
        if segment.speaker != "prospect" or not segment.text:
            return
        words = set(tokens(segment.text))
        self.lines += 1
        self.pulling += segment.sentiment > WARM or segment.questions > 0
        self.sceptical += segment.objection in _SCEPTICAL
        self.urgent += bool(_URGENT.find(segment.text))
        self.formal_words += len(words & _FORMAL)
        self.casual_words += len(words & _CASUAL)
        if words & _TECHNICAL:
            self.technical += 1
            self.technical_mood += segment.sentiment - 0.5 * (segment.objection == "experience")
        if segment.acoustics is not None and segment.acoustics.pace_wpm is not None:
            self.paced += 1
            self.pace_wpm += segment.acoustics.pace_wpm

    def read(self) -> LeadTraits:
        """Return the traits as far as enough was heard."""
        pace = None
        if self.paced:
            pace = _unit((self.pace_wpm / self.paced - SLOW_WPM) / (FAST_WPM - SLOW_WPM))
        if self.lines < ENOUGH_LINES:
            return LeadTraits(pace=pace)
        manner = self.formal_words + self.casual_words
        mood = self.technical_mood / self.technical if self.technical else None
        return LeadTraits(
            motivation=_unit(self.pulling / self.lines),
            scepticism=_unit(2 * self.sceptical / self.lines),
            urgency=_unit(3 * self.urgent / self.lines),
            pace=pace,
            formality=_unit(self.formal_words / manner) if manner else None,
            technical_comfort=None if mood is None else _unit(0.5 + mood / 2),
        )


def read_traits(segments: Iterable[TranscriptSegment]) -> LeadTraits:
    """Read the traits from the segments of one call."""
    heard = TraitsHeard()
    for segment in segments:
        heard.hear(segment)
    return heard.read()


def level(value: float | None) -> str | None:
    """Name a trait's level as evidence is grouped by it: low, mid or high."""
    if value is None:
        return None
    return "low" if value < 1 / 3 else "mid" if value < 2 / 3 else "high"


def _unit(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)
