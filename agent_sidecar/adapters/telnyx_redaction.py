"""Takes out of a webhook's body what must not be kept; ids, times, numbers and links stay."""

from collections.abc import Callable
from typing import Final

import msgspec

from agent_sidecar.adapters.telnyx_values import UNREADABLE, mended

# what a webhook is matched by, and whose call it is: nobody says these
_KEPT: Final = frozenset({"id", "from", "to", "client_state", "command_id", "state", "direction"})
_KEPT_ENDINGS: Final = ("_id", "_ids", "_at", "_url", "_urls", "_time")
# one key of the telephone
_KEY: Final = "digit"
_PRESSED: Final = "[key]"


def redacted_webhook(raw: bytes, redact: Callable[[str], str], *, keys: bool) -> bytes:
    """Return the body with every text of its payload redacted; the same bytes if nothing was.

    `keys`: which keys were pressed goes too. A body that is no JSON stays: it is never kept.
    """
    try:
        body = _read(raw)
    except (*UNREADABLE, ValueError):
        return raw
    match body:
        case {"data": {"payload": dict(payload), **data}, **rest}:
            kept = _kept("payload", payload, redact, keys=keys)
            if kept == payload:
                return raw
            return msgspec.json.encode({**rest, "data": {**data, "payload": kept}})
        case _:
            return raw


def _read(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        return msgspec.json.decode(mended(raw))


def _kept(name: str, value: object, redact: Callable[[str], str], *, keys: bool) -> object:
    match value:
        case dict():
            return {
                str(key): part
                if key in _KEPT or str(key).endswith(_KEPT_ENDINGS)
                else _kept(str(key), part, redact, keys=keys)
                for key, part in value.items()
            }
        case list():
            return [_kept(name, part, redact, keys=keys) for part in value]
        case str() if keys and name == _KEY:
            return _PRESSED
        case str():
            return redact(value)
    return value
