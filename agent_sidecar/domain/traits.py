"""What a lead's own lines tell about him, 0..1 each; None until enough was heard.

No single word makes a trait: each needs several pieces of evidence, and every share is shrunk
towards its middle by two pieces more that nobody said (Laplace's rule of succession).

- motivation: of the lines that pull (warm, asking, a buying signal) or push back (cold, an
  objection), how many pull.
- scepticism: how often he doubts us: objections of the playbook that show it, and doubting words;
  half of all lines is as sceptical as can be.
- urgency: of the lines that speak of soon or of some day, how many speak of soon.
- pace: his mean pace between a slow and a fast speaker.
- formality: of formal and casual words, how many are formal.
- technical comfort: the mood of the lines about technical things, objections that show discomfort
  counting as cold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_sidecar.domain.playbook import Objection, Shows
from agent_sidecar.domain.record import LeadTraits, TranscriptSegment
from agent_sidecar.domain.types import ObjectionType
from agent_sidecar.domain.words import Phrases, plain_words, tokens

# pieces of evidence from which a trait is worth stating
ENOUGH_LINES, ENOUGH_WORDS, ENOUGH_HINTS = 3, 20, 2
# sentiment from which a line is warm, and below whose negative it is cold
WARM = 0.25
# words a minute of a slow and of a fast speaker
SLOW_WPM, FAST_WPM = 110.0, 210.0

# what objections show by their names, where a playbook does not say it
_BY_NAME: Mapping[str, Shows] = {
    "trust": "scepticism",
    "scheme": "scepticism",
    "not-interested": "scepticism",
    "do-not-call": "scepticism",
    "experience": "discomfort",
}
_DOUBTING = Phrases(
    "i doubt|doubtful|suspicious|sceptical|skeptical|hard to believe|do not believe|not convinced|"
    "not buying it|too good to be true|sounds fishy|sounds shady|do not trust|yeah right|"
    "prove it|where is the catch|what is the catch".split("|")
)
_SOON = Phrases(
    "right away|as soon as|asap|urgent|urgently|immediately|this week|this month|by next month|"
    "by the end of|before christmas|soon|how soon|how fast|how quickly|when can i start|"
    "start today|start now|start tomorrow|can not wait|behind on|running out|i need it now|"
    "need the money now|overdue".split("|")
)
_SOME_DAY = Phrases(
    "no rush|no hurry|not in a hurry|not in a rush|some day|someday|one day|next year|"
    "down the road|eventually|some other time|another time|maybe later|when i have time|"
    "not right now|take my time|in the future".split("|")
)
_FORMAL = frozenset(
    "sir madam mister please certainly indeed pardon regarding appreciate kindly thank".split()
)
_CASUAL = frozenset(
    "yeah yep yup nah gonna wanna gotta kinda dude cool hey stuff nope lol ya y'all man bro huh "
    "ain't awesome".split()
)
_TECHNICAL = frozenset(
    "computer computers laptop tablet smartphone online internet website app apps software email "
    "video zoom download upload browser wifi facebook instagram youtube technology tech "
    "spreadsheet password".split()
)


def shown_by(objections: Sequence[Objection]) -> dict[ObjectionType, Shows]:
    """Return what raising each objection shows: as the playbook says, else by a known name."""
    shows = {o.type: o.shows or _BY_NAME.get(o.type) for o in objections}
    return {kind: shown for kind, shown in shows.items() if shown is not None}


@dataclass(slots=True)
class TraitsHeard:
    """What was counted of a lead's lines so far: each is read once, however long the call."""

    # what an objection shows about who raises it
    shows: Mapping[ObjectionType, Shows] = field(default_factory=dict)
    lines: int = 0
    pulling: int = 0
    pushing: int = 0
    doubting: int = 0
    soon: int = 0
    some_day: int = 0
    formal_words: int = 0
    casual_words: int = 0
    technical: int = 0
    technical_mood: float = 0.0
    paced_words: int = 0
    paced_minutes: float = 0.0

    def hear(self, segment: TranscriptSegment) -> None:
        """Count one segment; only the prospect's words tell about him."""
        if segment.speaker != "prospect" or not segment.text:
            return
        said = tokens(segment.text)
        words = set(said) | set(plain_words(segment.text))
        shown = self.shows.get(segment.objection) if segment.objection else None
        self.lines += 1
        # what he objects pushes back, however friendly he is about it
        pushes = segment.objection is not None or segment.sentiment < -WARM
        self.pushing += pushes
        self.pulling += not pushes and (segment.sentiment > WARM or segment.questions > 0)
        self.doubting += shown == "scepticism" or bool(_DOUBTING.find(segment.text))
        self.soon += bool(_SOON.find(segment.text))
        self.some_day += bool(_SOME_DAY.find(segment.text))
        self.formal_words += len(words & _FORMAL)
        self.casual_words += len(words & _CASUAL)
        if words & _TECHNICAL or shown == "discomfort":
            self.technical += 1
            self.technical_mood += -1.0 if shown == "discomfort" else segment.sentiment
        if segment.acoustics is not None and segment.acoustics.pace_wpm:
            self.paced_words += len(said)
            self.paced_minutes += len(said) / segment.acoustics.pace_wpm

    def read(self) -> LeadTraits:
        """Return the traits as far as enough was heard."""
        doubts = None
        if self.lines >= ENOUGH_LINES:
            doubts = _unit(2.0 * self.doubting / (self.lines + 2.0))
        mood = None
        if self.technical >= ENOUGH_HINTS:
            mood = _unit(0.5 + 0.5 * self.technical_mood / (self.technical + 1.0))
        return LeadTraits(
            motivation=_share(self.pulling, self.pushing, ENOUGH_LINES),
            scepticism=doubts,
            urgency=_share(self.soon, self.some_day, ENOUGH_HINTS),
            pace=self._pace(),
            formality=_share(self.formal_words, self.casual_words, ENOUGH_LINES),
            technical_comfort=mood,
        )

    def _pace(self) -> float | None:
        if self.paced_words < ENOUGH_WORDS:
            return None
        pace_wpm = self.paced_words / self.paced_minutes
        return _unit((pace_wpm - SLOW_WPM) / (FAST_WPM - SLOW_WPM))


def level(value: float | None) -> str | None:
    """Name a trait's level as evidence is grouped by it: low, mid or high."""
    if value is None:
        return None
    return "low" if value < 1 / 3 else "mid" if value < 2 / 3 else "high"


def _share(some: int, others: int, enough: int) -> float | None:
    return _unit((some + 1) / (some + others + 2)) if some + others >= enough else None


def _unit(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)
