"""Single values of Telnyx's frames and webhooks, which may be odd: how much of them counts."""

import json
from datetime import UTC, datetime
from typing import Final

import msgspec
import pybase64

# what msgspec raises for input that is not as it should be; deep nesting ends in RecursionError
UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeError)
_LONGEST_SAID: Final = 200
_LARGEST: Final = 1.7e308


def short(said: object) -> str:
    """Return what may stand in a message: what came may be as long as it likes."""
    return str(said)[:_LONGEST_SAID]


def text_of(value: object) -> str | None:
    """Return a text that is not empty; anything else counts as missing."""
    return value if isinstance(value, str) and value else None


def share_of(value: object) -> float | None:
    """Return a number from 0 to 1; anything else counts as missing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def client_state_of(encoded: str | None) -> str:
    """Undo the base64; whatever was not ours to begin with may be anything, then it is empty."""
    if not encoded:
        return ""
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        return pybase64.b64decode(padded, validate=True).decode()
    except ValueError:
        return ""


def as_utc(at: datetime) -> datetime:
    """Return the time as UTC, which it is where it does not say. Raises `OverflowError`."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def mended(raw: bytes) -> bytes:
    """Return as plain JSON what others still read as JSON: half a surrogate pair, 1e999, NaN.

    One odd letter in a name must not cost the event, which is never sent again. Raises
    `ValueError`.
    """
    value = json.loads(raw, parse_float=_finite, parse_constant=_nothing)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _finite(text: str) -> float:
    return max(-_LARGEST, min(float(text), _LARGEST))


def _nothing(_: str) -> None:
    return None
