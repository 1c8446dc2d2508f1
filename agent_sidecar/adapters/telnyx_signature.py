"""Whether a webhook was signed by Telnyx: Ed25519 over timestamp and raw bytes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import pybase64
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent_sidecar.errors import SettingsInvalid, SignatureInvalid

SIGNATURE_HEADER: Final = "telnyx-signature-ed25519"
TIMESTAMP_HEADER: Final = "telnyx-timestamp"


class SignatureCheck:
    """Verifies webhooks against one account's public key.

    A valid signature is no guard against a replay within the tolerance: deduplicate by event id.
    """

    def __init__(self, public_key: str, *, tolerance_s: float) -> None:
        """Read the key, base64 of 32 bytes as the portal shows it. Raises `SettingsInvalid`."""
        try:
            raw = pybase64.b64decode(public_key.strip(), validate=True)
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as exc:
            raise SettingsInvalid(
                "SIDECAR_TELNYX_PUBLIC_KEY must be base64 of 32 bytes: copy it from the Telnyx"
                " portal, Keys & Credentials, Public Key"
            ) from exc
        self._tolerance_s = tolerance_s

    def verify(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Check the body as it came, before anything reads it. Raises `SignatureInvalid`."""
        lower = {name.lower(): value for name, value in headers.items()}
        timestamp, signature = lower.get(TIMESTAMP_HEADER), lower.get(SIGNATURE_HEADER)
        if timestamp is None or signature is None:
            missing = TIMESTAMP_HEADER if timestamp is None else SIGNATURE_HEADER
            raise SignatureInvalid(f"the header {missing} is missing")
        self._check_age(timestamp, now)
        try:
            self._key.verify(
                pybase64.b64decode(signature, validate=True), timestamp.encode() + b"|" + raw
            )
        except (ValueError, InvalidSignature) as exc:
            raise SignatureInvalid(
                f"{SIGNATURE_HEADER} does not fit the body and SIDECAR_TELNYX_PUBLIC_KEY"
            ) from exc

    def _check_age(self, timestamp: str, now: datetime) -> None:
        # the length keeps int() cheap whatever is sent
        if len(timestamp) > 12 or not (timestamp.isascii() and timestamp.isdigit()):
            raise SignatureInvalid(f"{TIMESTAMP_HEADER} must be seconds since 1970")
        age_s = now.timestamp() - int(timestamp)
        if abs(age_s) > self._tolerance_s:
            raise SignatureInvalid(
                f"signed {age_s:.0f} s ago by our clock, {self._tolerance_s:.0f} s are allowed;"
                " if this repeats, check the clock of this machine"
            )
