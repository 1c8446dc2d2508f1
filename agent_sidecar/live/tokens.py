"""Who may open a media stream: a secret per call, bound to the first call that uses it.

Only the token's SHA-256 is kept, here and in the journal, so that a copy of the data folder opens
nothing. A stopped stream may come back with the same token until its call hangs up.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_sidecar.domain.types import CallId
from agent_sidecar.live.requests import AttachRequest

# a token that no stream used by then opens nothing
VALID = timedelta(hours=1)
# tokens kept for streams that have not come yet
MOST = 10_000


def new_token() -> str:
    """Return a fresh secret, 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def key_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(slots=True)
class _Grant:
    expires_at: datetime
    # what a stream that comes without a known call says about it
    request: AttachRequest | None
    call_id: CallId | None


class Tokens:
    """The tokens of this process."""

    def __init__(self) -> None:
        self._grants: dict[str, _Grant] = {}
        self._of_call: dict[CallId, list[str]] = {}

    def grant(
        self, key: str, *, now: datetime, request: AttachRequest | None, call_id: CallId | None
    ) -> datetime:
        """Let the token with this key in; return until when it must be used first."""
        if call_id is None and len(self._grants) >= MOST:
            self._make_room(now)
        expires_at = now + VALID
        self._grants[key] = _Grant(expires_at, request, call_id)
        if call_id is not None:
            self._of_call.setdefault(call_id, []).append(key)
        return expires_at

    def opens(self, token: str | None, call_id: CallId | None, now: datetime) -> bool:
        """Say whether this token lets a stream of this call in (None: a call not known yet)."""
        grant = self._grants.get(key_of(token)) if token else None
        if grant is None:
            return False
        if grant.call_id is None:
            return now <= grant.expires_at
        return grant.call_id == call_id

    def request_of(self, token: str) -> AttachRequest | None:
        """Return what was said about the call when the token was made."""
        grant = self._grants.get(key_of(token))
        return grant.request if grant else None

    def call_of(self, token: str) -> CallId | None:
        """Return the call that a token is bound to."""
        grant = self._grants.get(key_of(token))
        return grant.call_id if grant else None

    def bind(self, token: str, call_id: CallId) -> None:
        """Bind a token to the first call that uses it."""
        key = key_of(token)
        if self._grants[key].call_id is None:
            self._grants[key].call_id = call_id
            self._of_call.setdefault(call_id, []).append(key)

    def forget(self, call_id: CallId) -> None:
        """Let nothing in for this call any more: it hung up."""
        for key in self._of_call.pop(call_id, ()):
            del self._grants[key]

    def _make_room(self, now: datetime) -> None:
        """Drop what has expired; if nothing has, the oldest that waits."""
        waiting = [key for key, grant in self._grants.items() if grant.call_id is None]
        expired = [key for key in waiting if self._grants[key].expires_at < now]
        for key in expired or waiting[:1]:
            del self._grants[key]
