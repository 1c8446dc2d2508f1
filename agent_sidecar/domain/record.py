"""CallRecord: what is worth keeping of a finished call; the one source of all four stores.

Plain values only, so that a record can be written to the journal, read back and compared.
Scales and meanings are those of the data model: engagement 0..100, sentiment -1..1, times UTC.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.hints import Hint, HintStatus
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import (
    EVIDENCE_SOURCES,
    AgentKind,
    CallId,
    Lead,
    Leg,
    LegId,
    ObjectionType,
    Party,
    Source,
    StrategyName,
    TransferId,
)

FinalStatus = Literal[
    "hot_transfer",
    "video_sent",
    "follow_up",
    "disqualified",
    "no_answer",
    "abandoned",
    "unknown",
]
# the second version of the story's outcome, stored beside `final_status`
Result = Literal["transferred", "qualified", "callback", "not_qualified", "no_answer"]
PhaseOutcome = Literal["objection", "positive", "advanced", "stalled"]
TransferOutcome = Literal[
    "bridged",
    "declined",
    "voicemail",
    "no_answer",
    "busy",
    "invalid_number",
    "closer_hung_up",
    "prospect_hung_up",
    "unavailable",
    "cancelled",
    "failed",
    "unknown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """How a segment sounded; relative values are against the speaker's own baseline."""

    # semitones above (+) or below the speaker's median pitch; None when unvoiced
    tonal_shift_st: float | None = None
    # words a minute, from the words and the time spoken
    pace_wpm: float | None = None
    # syllables a second of talk, counted by their nuclei in the sound; None: too short to tell
    pace_syl_s: float | None = None
    # that against the speaker's median: 0.2 is a fifth faster
    pace_shift: float | None = None
    # silence inside and before the segment since the last speech of anybody
    pause_s: float | None = None
    # the part of it that is inside
    inner_pause_s: float = 0.0
    volume_dbfs: float | None = None
    # decibels above (+) or below the speaker's median
    volume_shift_db: float | None = None
    # from the end of the other's speech to the start of this
    response_latency_s: float | None = None
    # talked into the other's speech, which had begun before
    overtalk_s: float = 0.0
    # times he did so for long enough to break in
    interruptions: int = 0
    # of all talk of both so far, this segment's included, his: 0..1
    talk_ratio: float | None = None
    talk_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptSegment:
    """One line as it was understood; text is empty for speech that nobody transcribed."""

    index: int
    speaker: Party
    text: str
    at: datetime
    # seconds of call time
    start_s: float
    end_s: float
    confidence: float | None = None
    sentiment: float = 0.0
    # this prospect segment's own score; None for others
    engagement: float | None = None
    # the call's score after this line; None before the first prospect line
    call_engagement: float | None = None
    phase: int = 1
    keywords: tuple[str, ...] = ()
    questions: int = 0
    objection: ObjectionType | None = None
    # the strategy an agent's line used, and how sure we are (0..1)
    strategy: StrategyName | None = None
    strategy_confidence: float | None = None
    # the hint that the agent's line followed
    hint_id: str | None = None
    # float32 little-endian bytes of the line's vector
    vector: bytes | None = None
    acoustics: Acoustics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseVisit:
    """A stretch of the call spent in one phase."""

    phase: int
    start_at: datetime
    end_at: datetime
    outcome: PhaseOutcome
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPhrase:
    phrase: str
    frequency: int
    sentiment: float
    context: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMoment:
    at: datetime
    kind: Literal["rise", "drop", "objection", "buying_signal", "transfer"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionMet:
    """An objection in this call, what answered it, and whether that helped."""

    type: ObjectionType
    phase: int
    at: datetime
    resolved: bool
    strategy: StrategyName | None
    # the words that were recognised
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenHint:
    """A hint as it was shown, and what became of it."""

    hint: Hint
    status: HintStatus
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAttempt:
    """One try to hand the prospect to a closer, ended in exactly one outcome."""

    transfer_id: TransferId
    closer: str
    initiated_at: datetime
    outcome: TransferOutcome
    reason: str
    engagement: float | None
    phase: int
    key_indicators: tuple[str, ...]
    leg_id: LegId | None = None
    answered_at: datetime | None = None
    accepted: bool | None = None
    bridged_at: datetime | None = None
    # hangup of the closer's leg
    completed_at: datetime | None = None
    # what the closer said of it; None: nothing yet
    result: TransferResult | None = None

    def judged(self, result: TransferResult) -> "TransferAttempt":
        """Return the attempt with what a closer says of it now."""
        return replace(self, result=result.after(self.result))

    @property
    def duration_s(self) -> float | None:
        """Seconds the prospect spent with the closer; None until both ends are known."""
        if self.bridged_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.bridged_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """One agent move and what followed it: the unit of evidence."""

    # index of the agent's segment
    segment: int
    strategy: StrategyName
    phase: int
    # the objection it answered, if one was open
    objection: ObjectionType | None
    # it followed a hint of ours
    hinted: bool
    # the prospect's next reaction was positive (True) or negative (False); None: neither, or none
    lifted: bool | None
    # change of the call's score to the prospect's next segment; None: he said no more
    score_change: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A short sequence the domain recognises; its id is made of its parts."""

    id: str
    type: str
    # 0..10
    effectiveness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTraits:
    """What a lead's own lines tell about him, 0..1, None until heard."""

    motivation: float | None = None
    scepticism: float | None = None
    urgency: float | None = None
    pace: float | None = None
    formality: float | None = None
    technical_comfort: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the call ended."""

    final_status: FinalStatus
    result: Result
    # None: not counted (yet)
    qualified: bool | None
    # said by a person, not concluded
    posted: bool = False
    # a meeting was booked, not merely another call agreed on
    booked: bool = False
    # when the next contact was agreed for, where a time was named
    follow_up_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What the call teaches, in words."""

    effective_strategies: tuple[str, ...] = ()
    # "type -> strategy" that resolved an objection
    objection_handling: tuple[str, ...] = ()
    # what was said before a rise of 10
    engagement_triggers: tuple[str, ...] = ()
    improvement_areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """Means over the prospect's segments; None where nothing was heard."""

    tonal_shift_st: float | None = None
    pace_wpm: float | None = None
    pause_s: float | None = None
    volume_dbfs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    # the provider's link, which soon expires
    url: str | None = None
    recording_id: str | None = None
    # our copy, from the data folder on
    file: str | None = None

    @property
    def place(self) -> str | None:
        """Where the sound is: our copy rather than a link."""
        return self.file or self.url

    def saved(self, url: str, recording_id: str | None, file: str | None) -> "Recording":
        """Return what is known after it was saved, or copied; the same link keeps its copy."""
        file = file or (self.file if url == self.url else None)
        return Recording(url=url, recording_id=recording_id, file=file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What judged the call, so that it can be judged again."""

    system_version: str
    playbook: str
    weights: str
    model: str
    # |sentiment| from which a line counted as positive or negative
    sentiment_limit: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """The whole story of one finished call."""

    call_id: CallId
    source: Source
    # the id in the file of a replayed or imported call
    external_id: str | None
    lead: Lead
    # (field, value) pairs of the kind of lead, as the playbook names them, known ones only
    lead_kind: tuple[tuple[str, str], ...]
    traits: LeadTraits
    agent: AgentKind
    legs: tuple[Leg, ...]
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime
    # closed because the sidecar lost it, not because it was hung up
    interrupted: bool
    hangup_cause: str | None
    segments: tuple[TranscriptSegment, ...]
    # the call's score at its end; None: the prospect never spoke
    engagement: float | None
    # the call's score after each prospect segment
    progression: tuple[float, ...]
    phase_reached: int
    flow: tuple[PhaseVisit, ...]
    key_phrases: tuple[KeyPhrase, ...]
    key_moments: tuple[KeyMoment, ...]
    objections: tuple[ObjectionMet, ...]
    hints: tuple[GivenHint, ...]
    transfers: tuple[TransferAttempt, ...]
    credits: tuple[Credit, ...]
    patterns: tuple[Pattern, ...]
    learnt: Learnt
    voice: Voice
    question_count: int
    interruptions: int
    keyword_triggers: tuple[str, ...]
    outcome: Outcome
    # could a closer have taken the call (first transfer decision, else its end)
    closer_available: bool
    # the closer it is about
    closer: str
    # the local hour of the lead, as morning|afternoon|evening|night; `unknown` without a zone
    time_of_day: str
    # 0 = Sunday, in the lead's zone, else UTC
    day_of_week: int
    configuration: Configuration
    recording: Recording = field(default_factory=Recording)
    # the stream's frames that never came, concealed, and those that could not be decoded
    frames_lost: int = 0
    # seconds of music and signalling tones, and of one track's echo on the other: nobody's speech
    masked_s: float = 0.0
    echo_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """From the start of the call to its end."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def full_text(self) -> str:
        """The transcript, one line a segment."""
        return "\n".join(f"{s.speaker}: {s.text}" for s in self.segments if s.text)

    @property
    def transfer_attempted(self) -> bool:
        """Somebody tried to hand the prospect over, here or as a person says."""
        return bool(self.transfers) or self.outcome.final_status == "hot_transfer"

    @property
    def transfer_successful(self) -> bool:
        """A bridge was proven, or a person says so."""
        bridged = any(attempt.bridged_at is not None for attempt in self.transfers)
        return bridged or self.outcome.final_status == "hot_transfer"

    @property
    def is_evidence(self) -> bool:
        """Only live and imported calls count for learning."""
        return self.source in EVIDENCE_SOURCES
