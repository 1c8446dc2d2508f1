"""What every live call of this process works with."""

from dataclasses import dataclass
from typing import Protocol

from agent_sidecar.domain.record import Configuration
from agent_sidecar.domain.types import Party, Track, TransferId
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.spare import SpareTime
from agent_sidecar.ports import (
    CallControl,
    Clock,
    Closers,
    Conversations,
    Embedder,
    Journal,
    Leads,
    Publisher,
    TelephonyEvent,
)
from agent_sidecar.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompting:
    """Which agents are told, and by whom."""

    # None: no Telnyx account is set
    control: CallControl | None
    # a Telnyx AI assistant gets each hint as a message
    assistant: bool
    # a human agent hears it on a leg of his own
    aloud: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParts:
    """The ports of a call, and its times."""

    journal: Journal
    # every finished call, also what the journal has forgotten
    conversations: Conversations
    embedder: Embedder
    desk: HintDesk
    publisher: Publisher
    leads: Leads
    closers: Closers
    # whoever may take over, by name
    roster: tuple[str, ...]
    clock: Clock
    metrics: Metrics
    # whether something may be made ready ahead
    spare: SpareTime
    prompting: Prompting
    configuration: Configuration
    # from the final text to the hint on the wire, and what of it retrieval may take
    hint_deadline_s: float
    retrieval_s: float
    late_lines_s: float


class RunningTransfer(Protocol):
    """One attempt to hand the prospect over."""

    @property
    def transfer_id(self) -> TransferId: ...

    @property
    def awaits_leg(self) -> bool:
        """The closer is dialled, and nobody knows yet on which leg."""
        ...

    async def run(self) -> None: ...

    def receive(self, event: TelephonyEvent) -> bool:
        """Take an event of the closer's leg or of the bridge; False: it is not this attempt's."""
        ...

    def cancel(self, reason: str) -> None:
        """Stop as soon as possible; what is proven stands."""
        ...


class HeardStream(Protocol):
    """A media stream of the call."""

    @property
    def own_party(self) -> Party:
        """Whose leg it is of."""
        ...

    @property
    def is_open(self) -> bool:
        """Something can still be heard here."""
        ...

    def end_speech(self, party: Party) -> None:
        """Feed what a party has said so far: its words are known."""
        ...

    def spoken_s(self, track: Track, text: str, by_s: float) -> float | None:
        """Return when a line was said that was recognised `by_s`, both in call time."""
        ...

    def set_other(self, party: Party) -> None:
        """Say who the other voice is from now on."""
        ...

    def end(self, reason: str) -> None:
        """Hear no more: the call is over."""
        ...
