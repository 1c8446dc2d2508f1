"""Signs webhooks as Telnyx does: Ed25519 over the timestamp header, a bar and the raw body."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"
_SEED_BYTES = 32


class WebhookSigner:
    """One key pair; the service must know `public_key` to believe what this signs."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def generate(cls) -> Self:
        return cls(os.urandom(_SEED_BYTES))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the key's seed from a private file, made if missing.

        A service and a later replay in the same data folder agree through it.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(handle, "wb") as file:
            file.write(seed := os.urandom(_SEED_BYTES))
        return cls(seed)

    @property
    def public_key(self) -> str:
        """Base64 of 32 bytes, as the portal shows it."""
        return b64encode(self._key.public_key().public_bytes_raw()).decode()

    def headers(self, body: bytes, *, timestamp: int) -> dict[str, str]:
        """Return the headers for these exact bytes; `timestamp` is the wall's, unix seconds."""
        signature = self._key.sign(str(timestamp).encode() + b"|" + body)
        return {
            SIGNATURE_HEADER: b64encode(signature).decode(),
            TIMESTAMP_HEADER: str(timestamp),
            "User-Agent": "telnyx-webhooks",
            "Content-Type": "application/json",
        }
