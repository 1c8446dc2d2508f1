"""Tells each telephony event to the call that it is about.

An event finds its call by its leg; a closer's leg also by the client state that we gave it, since
its first events may come before the dial's own answer, and a human agent's by the session that the
legs of one call share. What a recorded call hears late completes
its record; legs of nobody's call are remembered for a later attach.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import Leg, LegId, Party, Track, TransferId
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.live.directory import Directory
from agent_sidecar.live.legs import Legs
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.recordings import RecordingCopier
from agent_sidecar.live.routing import call_events
from agent_sidecar.live.strangers import Strangers, lead_of, our_number
from agent_sidecar.live.transfer import CLIENT_STATE, TransferParts
from agent_sidecar.ports import Journal, ReceivedWebhook, TelephonyEvent
from agent_sidecar.telemetry import Metrics

log = structlog.get_logger()

# how far ahead of our clock a provider's may be
AHEAD = timedelta(minutes=1)
# what is played faster than it was spoken runs ahead
PLAYED_AHEAD = timedelta(days=1)
_WHAT_TO_DO = {
    "no_track": "transcribe with an engine that names the track (Telnyx), or only the leg's own"
    " voice, and set SIDECAR_TRANSCRIPTION_TRACKS=inbound",
    "unknown_leg": "attach the leg, or say whose it is: POST /v1/calls/{leg}/attach with a role",
    "aside": "nothing: it was said outside of the conversation with the prospect",
}


class Teller:
    """The way of a webhook into its call."""

    def __init__(
        self,
        directory: Directory,
        strangers: Strangers,
        legs: Legs,
        journal: Journal,
        transfer: TransferParts,
        tasks: asyncio.TaskGroup,
        metrics: Metrics,
        untracked: Track | None,
        recordings: RecordingCopier,
    ) -> None:
        """`untracked` is whose words a line of the prospect's leg is that names no track."""
        self._recordings = recordings
        self._metrics = metrics
        self._untracked = untracked
        # what was logged once
        self._said: set[str] = set()
        self._directory = directory
        self._strangers = strangers
        self._legs = legs
        self._journal = journal
        self._transfer = transfer
        self._tasks = tasks

    def receive(
        self, event: TelephonyEvent, webhook: ReceivedWebhook, *, arrived_s: float | None
    ) -> Awaitable[None]:
        """Tell the event's call now; what is returned ends when everything of it is on disk."""
        if event.kind == "recording_saved" and event.leg_id is None:
            leg_id = self._directory.recorded_leg(event.call_leg_id, event.call_session_id)
            event = replace(event, leg_id=leg_id)
        owner = None if event.leg_id is None else self._owner(event, event.leg_id)
        if owner is None:
            self._meet_stranger(event)
            return self._journal.receive(webhook)
        call, party = owner
        # a time that cannot be would stop the call's clock for good
        ahead = AHEAD if call.call.log.opened.source == "live" else PLAYED_AHEAD
        event = replace(event, at=min(event.at, webhook.received_at + ahead))
        is_late = call.call.is_closed
        told = self._tell(event, call, party, arrived_s)
        if is_late:
            return _then(told, lambda: self._journal.receive(webhook))
        # after its events: when a crash comes between, it is new again when it is repeated, and to
        # hear an event twice changes nothing
        return _all([*told, self._journal.receive(webhook)])

    def bind_closer(self, leg_id: LegId, call: LiveCall) -> None:
        """Say that a leg belongs to this call's closer."""
        if self._directory.owner(leg_id) is None:
            self._legs.join(Leg(leg_id=leg_id, party="closer"), call, answered=False)

    def _owner(self, event: TelephonyEvent, leg_id: LegId) -> tuple[LiveCall, Party] | None:
        if (owner := self._directory.owner(leg_id)) is not None:
            return owner
        transfer_id = _transfer_of(event)
        if transfer_id is None:
            return self._legs.adopt(event, leg_id)
        call = self._directory.known(transfer_id.rpartition(":")[0])
        if call is None or transfer_id not in call.attempts:
            return None
        self.bind_closer(leg_id, call)
        return call, "closer"

    def _tell(
        self, event: TelephonyEvent, call: LiveCall, party: Party, arrived_s: float | None
    ) -> list[Awaitable[None]]:
        if event.kind == "bridged":
            self._legs.adopt_peer(event)
        told = list(call_events(event, call, party, self._untracked))
        kept = [call.feed(e, arrived_s=arrived_s) for e in told]
        for saved in told:
            if isinstance(saved, ev.RecordingSaved):
                self._recordings.copy(call.call_id, saved)
        if event.kind == "line" and not told:
            self._miss_speaker("no_track" if event.track is None else "aside")
        if party == "prospect" and event.kind in ("initiated", "answered"):
            kept += _learn_numbers(event, call)
            self._legs.adopt_session(event.call_session_id)
        if party == "agent":
            call.prompter.receive(event)
        is_expected = False
        if party == "closer" or event.kind == "bridged":
            is_expected = call.attempts.receive(event)
        if not is_expected:
            self._release_late(event)
        return kept

    def _miss_speaker(self, reason: str) -> None:
        """Count a line that is nobody's; its webhook stays in the journal."""
        self._metrics.count("lines_unattributed", reason)
        if reason not in self._said:
            self._said.add(reason)
            log.warning("line_unattributed", reason=reason, what_to_do=_WHAT_TO_DO[reason])

    def _meet_stranger(self, event: TelephonyEvent) -> None:
        if event.kind == "line":
            self._miss_speaker("unknown_leg")
        if event.kind == "recording_saved":
            self._tasks.create_task(alone(self._recordings.match(event)), name="recording:match")
        if event.leg_id is not None:
            self._release_late(event)
            self._strangers.meet(event.leg_id, event)

    def _release_late(self, event: TelephonyEvent) -> None:
        """Free a closer whose hangup nobody waits for any more: it is evidence all the same."""
        transfer_id = _transfer_of(event)
        if event.kind == "hangup" and transfer_id is not None:
            self._tasks.create_task(alone(self._release(transfer_id)), name=f"free:{transfer_id}")

    async def _release(self, transfer_id: TransferId) -> None:
        try:
            # whoever it was: only his own transfer gives him free
            for closer in self._transfer.roster:
                await self._transfer.closers.release(closer.name, transfer_id)
        except StoreUnavailable as exc:
            log.warning("lease_not_released", error=str(exc), what_to_do="nothing: it is found out")


def _learn_numbers(event: TelephonyEvent, call: LiveCall) -> list[Awaitable[None]]:
    """Complete a call that was announced before its leg said who is on it."""
    call.our_number = call.our_number or our_number(event, None)
    lead = lead_of(call.call.log.lead, event, None)
    if lead == call.call.log.lead or call.call.is_closed:
        return []
    kept = call.feed(ev.LeadKnown(at=event.at, lead=lead))
    # asked for once it is known who it is
    call.find_lead()
    return [kept]


def _transfer_of(event: TelephonyEvent) -> TransferId | None:
    if not event.client_state.startswith(CLIENT_STATE):
        return None
    return TransferId(event.client_state.removeprefix(CLIENT_STATE))


async def alone(work: Coroutine[object, object, None]) -> None:
    """Do the work; if it breaks, the service and the other calls go on."""
    try:
        await work
    except Exception:
        log.exception("task_broke", what_to_do="report this; everything else goes on")


async def _all(kept: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*kept)


async def _then(told: Sequence[Awaitable[None]], keep: Callable[[], Awaitable[None]]) -> None:
    """Keep a webhook only when its call has kept what it says: else it is to come again."""
    await asyncio.gather(*told)
    await keep()
