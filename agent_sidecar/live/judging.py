"""Takes what is told of a call at any time: how it ended, what came of its transfers, its sound.

A call that is up, or was a moment ago, hears it as an event; a finished one gets a new version of
its record, which every store is told.
"""

from collections.abc import Callable, Mapping

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, TransferId
from agent_sidecar.errors import TransferUnknown
from agent_sidecar.live.directory import Directory
from agent_sidecar.live.finished import FinishedCalls
from agent_sidecar.live.views import transfer_view


class Judging:
    """The way of such a word into its call."""

    def __init__(
        self, directory: Directory, finished: FinishedCalls, on_recorded: Callable[[], None]
    ) -> None:
        """`on_recorded` is told of a new version of a finished call."""
        self._directory = directory
        self._finished = finished
        self._on_recorded = on_recorded

    async def post_outcome(
        self, name: str, status: FinalStatus, qualified: bool | None
    ) -> Mapping[str, object]:
        """Say how a call ended; return it. Raises `CallUnknown`."""
        if (call := self._directory.known(name)) is not None:
            await call.feed(
                ev.OutcomePosted(at=call.now(), final_status=status, qualified=qualified)
            )
            if not call.recorded.is_set():
                return call.view()
            name = call.call_id
        else:
            await self._finished.correct(CallId(name), status, qualified)
            self._on_recorded()
        return await self._finished.view(CallId(name)) or {}

    async def post_result(
        self, transfer_id: TransferId, result: TransferResult
    ) -> Mapping[str, object]:
        """Say what came of a transfer; return the transfer. Raises `TransferUnknown`."""
        # a transfer's id begins with that of its call
        call_id = CallId(transfer_id.rpartition(":")[0])
        call = self._directory.known(call_id)
        if call is None:
            attempt, is_news = await self._finished.judge(call_id, transfer_id, result)
            if is_news:
                self._on_recorded()
        elif transfer_id in call.call.log.transfers:
            await call.feed(ev.TransferJudged(transfer_id=transfer_id, result=result))
            attempt = call.call.log.transfers[transfer_id]
        else:
            raise TransferUnknown(transfer_id)
        return {"call_id": call_id, **transfer_view(attempt)}

    async def note_recording(self, call_id: CallId, saved: ev.RecordingSaved) -> None:
        """Say where a call's recording is. Raises `CallUnknown` or `JournalFailed`."""
        if (call := self._directory.known(call_id)) is not None:
            await call.feed(saved)
        else:
            await self._finished.note_recording(call_id, saved)
            self._on_recorded()
