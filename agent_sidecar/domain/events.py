"""What can happen to a call (events), and what a call can ask for (effects).

Events are what the journal keeps of an open call: replaying them in order rebuilds it. So they are
plain values, and low-rate: frames become `SpeechHeard` in the listener, interim lines are not kept.
Every `at` is the time of the conversation (Telnyx's `occurred_at`), never the wall's.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from agent_sidecar.domain.hints import Hint, Question, Retrieved
from agent_sidecar.domain.record import Acoustics, FinalStatus
from agent_sidecar.domain.transfer_events import CancelTransfer as CancelTransfer
from agent_sidecar.domain.transfer_events import StartTransfer as StartTransfer
from agent_sidecar.domain.transfer_events import TransferProgressed as TransferProgressed
from agent_sidecar.domain.transfer_events import TransferStep as TransferStep
from agent_sidecar.domain.transfer_events import TransferWanted as TransferWanted
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import (
    AgentKind,
    CallCommand,
    CallId,
    CommandId,
    HintId,
    Lead,
    Leg,
    LegId,
    Party,
    Source,
    StrategyName,
    TransferId,
)

# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened:
    """The first event of every call."""

    call_id: CallId
    at: datetime
    source: Source
    agent: AgentKind
    lead: Lead = field(default_factory=Lead)
    external_id: str | None = None
    # we only listen: no telephony command is ever sent for this call
    passive: bool = False
    # SHA-256 of the token that lets its media stream in, so that it still does after a restart
    stream_key: str = ""
    # our own number on the prospect's leg, where it is known: what a closer sees
    our_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadKnown:
    """The store has found or made the lead."""

    at: datetime
    lead: Lead


@dataclass(frozen=True, slots=True, kw_only=True)
class LegJoined:
    """A leg of this call is known; `answered` once somebody took it."""

    at: datetime
    leg: Leg
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LegLeft:
    """A leg hung up; the prospect's ends the call."""

    at: datetime
    leg_id: LegId
    cause: str | None = None
    # caller | callee | unknown
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegsBridged:
    """A leg was joined with another; which one, the provider does not always say."""

    at: datetime
    leg_id: LegId
    peer_leg_id: LegId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineAnswered:
    """A machine, not the prospect, took the call."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChanged:
    """The media stream of this call began, ended or failed; the call goes on either way."""

    at: datetime
    kind: Literal["started", "stopped", "failed", "refused"]
    reason: str = ""
    frames_lost: int = 0
    # music and signalling tones, and one track's echo on the other: nobody's speech
    masked_s: float = 0.0
    echo_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDecided:
    """A command about to be sent, kept before it is: what mends a stream, what tells the agent."""

    at: datetime
    leg_id: LegId
    command: CallCommand
    command_id: CommandId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechHeard:
    """A stretch of one party's speech was cut from the audio; seconds of call time."""

    party: Party
    start_s: float
    end_s: float
    acoustics: Acoustics


# how a line came to us: recognised on its speaker's own leg, on the leg of who listened to him, or
# told by somebody with a recogniser of his own, or written down in a recorded call: only there
# every line was said, also one that repeats the last
LineSource = Literal["own_leg", "other_leg", "told", "recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineHeard:
    """Words of one party; interim ones grow to a final one."""

    line_id: str
    at: datetime
    party: Party
    text: str
    is_final: bool
    confidence: float | None = None
    # an agent's line of an imported call whose strategy somebody has labelled
    strategy: StrategyName | None = None
    source: LineSource = "own_leg"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEmbedded:
    """The vector of a final line is there: float32 little-endian bytes; None: it failed."""

    line_id: str
    vector: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HintsRetrieved:
    """The answer to a question, complete or not."""

    question_id: str
    at: datetime
    retrieved: Retrieved
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HintJudged:
    """The agent used or dismissed a hint."""

    hint_id: HintId
    at: datetime
    action: Literal["used", "dismissed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloserChecked:
    """Whether a closer could take the call now."""

    at: datetime
    closer: str
    available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSaved:
    at: datetime
    url: str
    recording_id: str | None = None
    # our copy, once it is made
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomePosted:
    """A person says how the call ended."""

    at: datetime
    final_status: FinalStatus
    qualified: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferJudged:
    """A closer says what came of a transfer."""

    transfer_id: TransferId
    result: TransferResult


@dataclass(frozen=True, slots=True, kw_only=True)
class CallClosed:
    """Nothing more can happen: the record may be made."""

    at: datetime
    # closed because the sidecar lost sight of it
    interrupted: bool = False
    reason: str = ""


CallEvent: TypeAlias = (
    CallOpened
    | LeadKnown
    | LegJoined
    | LegLeft
    | LegsBridged
    | MachineAnswered
    | StreamChanged
    | CommandDecided
    | SpeechHeard
    | LineHeard
    | LineEmbedded
    | HintsRetrieved
    | HintJudged
    | CloserChecked
    | TransferWanted
    | TransferProgressed
    | RecordingSaved
    | OutcomePosted
    | TransferJudged
    | CallClosed
)

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Turn this final line into a vector and feed it back as `LineEmbedded`."""

    line_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskForHints:
    """Ask every retriever by the deadline and feed the answer back as `HintsRetrieved`."""

    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePart:
    """One reason for a score: how many points it moved it, and in words why."""

    name: str
    points: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishScore:
    """A line was understood: tell who listens."""

    at: datetime
    segment: int
    party: Party
    text: str
    phase: int
    phase_name: str
    sentiment: float
    objection: str | None
    strategy: str | None
    # this segment's own score and the call's; None for other parties' lines before the first score
    engagement: float | None
    call_engagement: float | None
    parts: tuple[ScorePart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishHint:
    """Show the hint to the agent; `latency_ms` is the time the answer took."""

    hint: Hint
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTransfer:
    """Tell who listens how the transfer goes."""

    progress: TransferProgressed


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartTranscription:
    """Stop and start the transcription of a leg: somebody speaks there and no words come."""

    leg_id: LegId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartStream:
    """Start the media stream of a leg once more: it failed."""

    leg_id: LegId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishDegraded:
    """Tell who listens what the call lacks by now: `transcript`, `audio`; empty: nothing again."""

    lacks: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapUp:
    """The call is over: after the grace for late finals, close it and keep its record."""

    reason: str


Effect: TypeAlias = (
    Embed
    | AskForHints
    | PublishScore
    | PublishHint
    | StartTransfer
    | CancelTransfer
    | PublishTransfer
    | RestartTranscription
    | RestartStream
    | PublishDegraded
    | WrapUp
)
