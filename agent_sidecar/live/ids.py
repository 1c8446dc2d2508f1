"""Ids of calls: UUIDv7, so that they sort by time (RFC 9562, 5.7)."""

import secrets
import uuid
from datetime import datetime

from agent_sidecar.domain.types import CallId


def new_call_id(at: datetime) -> CallId:
    """Return a fresh id made at this time."""
    milliseconds = int(at.timestamp() * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return CallId(str(uuid.UUID(int=value)))
