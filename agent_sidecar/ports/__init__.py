"""Every side effect the service can have, as Protocols.

Adapters implement them, fakes in `tests/fakes.py` too, and one contract suite runs on both. What a
port cannot do it raises as one of `errors`: `StoreUnavailable` (try again later), `RecordRejected`
(never again), `CommandRefused`, `CommandUncertain`.
"""

from agent_sidecar.domain.telephony import TelephonyEvent, TelephonyKind
from agent_sidecar.ports.basic import Clock, Embedder, Retriever
from agent_sidecar.ports.closers import Closers
from agent_sidecar.ports.forgetting import (
    Archives,
    ForgettingBook,
    LeadRows,
    OpenErasure,
    RecordingFolder,
)
from agent_sidecar.ports.journal import (
    LONGEST_PAUSE,
    CommittedRecord,
    Delivery,
    DeliveryStatus,
    Drop,
    Journal,
    OpenCall,
    Pruned,
    RebuildStep,
    ReceivedWebhook,
)
from agent_sidecar.ports.journal_care import (
    DeliveryBook,
    JournalCare,
    JournalRoom,
    ListedDelivery,
)
from agent_sidecar.ports.listening import MessageType, Publisher
from agent_sidecar.ports.stores import ChangedLead, Conversations, Leads, Projection, Recordings
from agent_sidecar.ports.telephony import CallControl, Dial, DialedLeg

__all__ = [
    "LONGEST_PAUSE",
    "Archives",
    "CallControl",
    "ChangedLead",
    "Clock",
    "Closers",
    "CommittedRecord",
    "Conversations",
    "Delivery",
    "DeliveryBook",
    "DeliveryStatus",
    "Dial",
    "DialedLeg",
    "Drop",
    "Embedder",
    "ForgettingBook",
    "Journal",
    "JournalCare",
    "JournalRoom",
    "LeadRows",
    "Leads",
    "ListedDelivery",
    "MessageType",
    "OpenCall",
    "OpenErasure",
    "Projection",
    "Pruned",
    "Publisher",
    "RebuildStep",
    "ReceivedWebhook",
    "RecordingFolder",
    "Recordings",
    "Retriever",
    "TelephonyEvent",
    "TelephonyKind",
]
