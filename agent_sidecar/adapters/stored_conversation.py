"""What both conversation stores keep of a call: the document people query, and the whole record.

The record (`record`, JSON) makes the conversation store the source from which the graph and the
vectors can be built again; the document beside it is a view of it for queries.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import structlog

from agent_sidecar.domain.document import conversation_document, document_differences
from agent_sidecar.domain.examples import example_kinds
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.errors import RecordRejected

log = structlog.get_logger()

_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(CallRecord)


def stored_document(record: CallRecord) -> dict[str, object]:
    """Return the document to store. Raises `RecordRejected` for what is not plain values."""
    try:
        encoded = _encoder.encode(record)
    except (TypeError, ValueError) as exc:
        raise RecordRejected(f"call {record.call_id} cannot be written as JSON: {exc}") from exc
    return {
        **conversation_document(record),
        **as_example(record),
        "record": encoded,
    }


def as_example(record: CallRecord) -> dict[str, object]:
    """Return what finds the document as an example of a kind of lead; no part of the call."""
    return {"exampleKinds": example_kinds(record)}


def record_in(document: Mapping[str, object]) -> CallRecord:
    """Return the record that a stored document was made of. Raises ValueError with the reason."""
    encoded = document.get("record")
    if not isinstance(encoded, bytes):
        raise ValueError("the field `record` is missing")  # noqa: TRY004 - a stored value is wrong
    return _records.decode(encoded)


def readable_records(documents: Iterable[Mapping[str, object]]) -> Iterator[CallRecord]:
    """Yield the records of stored documents; one that cannot be read is logged and left out."""
    for document in documents:
        try:
            yield record_in(document)
        except ValueError as exc:
            log.warning("conversation_not_read", call_id=document.get("_id"), error=str(exc))


def stored_differences(found: Mapping[str, object] | None, record: CallRecord) -> Sequence[str]:
    """Say how a stored document differs from what the record makes; nothing when it does not."""
    if found is None:
        return ("missing",)
    return (*document_differences(found, conversation_document(record)), *_record(found, record))


def _record(found: Mapping[str, object], record: CallRecord) -> Sequence[str]:
    # compared decoded: a version that adds a field with a default has not changed old calls
    try:
        same = record_in(found) == record
    except ValueError as exc:
        return (f"record: {exc}",)
    return () if same else ("record: is that of another version of this call",)
