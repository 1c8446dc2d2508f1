"""Where the truth about a finished call is: the journal, else the conversation store.

The journal has the newest version of every call that it holds; delivered ones it may forget, and
then the conversation store's is the newest.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import TypeVar

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.ports import CommittedRecord, Conversations, DeliveryStatus, Journal

# records looked at together
BATCH = 50
_DELIVERED = DeliveryStatus(
    state="delivered", attempts=0, next_try_at=None, delivered_at=None, last_error=None
)
_T = TypeVar("_T")


class Sources:
    """Both sources as one."""

    def __init__(self, journal: Journal, conversations: Conversations) -> None:
        self.journal = journal
        self._conversations = conversations

    async def forgotten(
        self, known: Collection[CallId]
    ) -> AsyncIterator[tuple[Sequence[CommittedRecord], Sequence[CallId]]]:
        """Walk over the calls that only the conversation store has; then those unreadable there.

        `known` are the calls that the journal had. Raises `StoreUnavailable`.
        """
        broken: set[CallId] = set()
        async for ids in self._conversations.call_ids():
            for some in batches([i for i in ids if i not in known], BATCH):
                found = await self._conversations.find(some)
                broken |= set(some) - {record.call_id for record in found}
                yield [_as_delivered(record) for record in found], ()
        # committed or removed since: neither is broken
        broken = {i for i in broken if await self.newest(i) is None}
        if broken:
            async for ids in self._conversations.call_ids():
                yield (), sorted(broken.intersection(ids))

    async def newest(self, call_id: CallId) -> CommittedRecord | None:
        """Return the newest version of a call; None when no source can say what it was."""
        committed = await self.journal.record(call_id)
        if committed is not None:
            return committed
        for record in await self._conversations.find([call_id]):
            return _as_delivered(record)
        return None


def batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield the items in order, at most so many together."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _as_delivered(record: CallRecord) -> CommittedRecord:
    return CommittedRecord(
        record=record,
        version=1,
        committed_at=record.ended_at,
        deliveries=dict.fromkeys(STORES, _DELIVERED),
    )
