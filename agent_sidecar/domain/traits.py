"""What a lead's own lines tell about him, 0..1 each; None until enough was heard."""

from collections.abc import Sequence

from agent_sidecar.domain.record import LeadTraits, TranscriptSegment
from agent_sidecar.domain.words import Phrases, tokens

# lines from which a trait is worth stating
ENOUGH_LINES = 3
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


def read_traits(segments: Sequence[TranscriptSegment]) -> LeadTraits:
    """Read the traits from the prospect's segments of one call."""
    lines = [s for s in segments if s.speaker == "prospect" and s.text]
    paces = [
        s.acoustics.pace_wpm
        for s in lines
        if s.acoustics is not None and s.acoustics.pace_wpm is not None
    ]
    pace = None
    if paces:
        mean = sum(paces) / len(paces)
        pace = _unit((mean - SLOW_WPM) / (FAST_WPM - SLOW_WPM))
    if len(lines) < ENOUGH_LINES:
        return LeadTraits(pace=pace)
    words = [word for line in lines for word in tokens(line.text)]
    return LeadTraits(
        # lines that pull: warm, asking, or naming a next step
        motivation=_share(lines, [s.sentiment > 0.25 or s.questions > 0 for s in lines]),
        scepticism=_unit(2 * sum(s.objection in _SCEPTICAL for s in lines) / len(lines)),
        urgency=_unit(3 * sum(bool(_URGENT.find(s.text)) for s in lines) / len(lines)),
        pace=pace,
        formality=_balance(words, _FORMAL, _CASUAL),
        technical_comfort=_comfort(lines),
    )


def level(value: float | None) -> str | None:
    """Name a trait's level as evidence is grouped by it: low, mid or high."""
    if value is None:
        return None
    return "low" if value < 1 / 3 else "mid" if value < 2 / 3 else "high"


def _comfort(lines: Sequence[TranscriptSegment]) -> float | None:
    """Return how a lead speaks of technical things; None: he does not."""
    about = [s for s in lines if _TECHNICAL & set(tokens(s.text))]
    if not about:
        return None
    mean = sum(s.sentiment - (0.5 if s.objection == "experience" else 0.0) for s in about)
    return _unit(0.5 + mean / len(about) / 2)


def _balance(words: Sequence[str], more: frozenset[str], less: frozenset[str]) -> float | None:
    for_it, against = sum(w in more for w in words), sum(w in less for w in words)
    return round(for_it / (for_it + against), 3) if for_it + against else None


def _share(lines: Sequence[TranscriptSegment], hits: Sequence[bool]) -> float:
    return round(sum(hits) / len(lines), 3)


def _unit(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)
