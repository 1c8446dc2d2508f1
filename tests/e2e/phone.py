"""One leg of a call as Telnyx tells of it, by its documents: signed webhooks and frames."""

import json
import time
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.front_door import Api

OURS = "+12025550100"
_TRACKS = {"prospect": "inbound", "agent": "outbound"}


class Phone:
    """A prospect's leg; counts the lines that the service has acknowledged."""

    def __init__(self, api: Api, signer: WebhookSigner, number: str = "+12025550142") -> None:
        self.leg_id = f"v3:e2e-{uuid4().hex}"
        self.number = number
        # lines that were answered 200: none of these may ever be missing
        self.acknowledged: list[str] = []
        self._api = api
        self._signer = signer

    async def ring(self) -> None:
        """Let the leg that we dialled begin."""
        await self.tell("call.initiated", direction="outgoing", state="bridging")

    async def answer(self) -> None:
        await self.tell("call.answered", state="answered")

    async def hang_up(self) -> None:
        await self.tell(
            "call.hangup",
            state="hangup",
            hangup_cause="normal_clearing",
            hangup_source="callee",
        )

    async def say(self, text: str, speaker: str = "prospect") -> None:
        """Say a final line; raises `aiohttp.ClientError` when nobody takes it."""
        status, answer = await self.post(self.line(text, speaker))
        if status == 200:
            self.acknowledged.append(text)
        elif status != 503:
            raise AssertionError((status, answer))

    def line(self, text: str, speaker: str = "prospect") -> bytes:
        """Return a webhook with a final line."""
        said = {
            "transcript": text,
            "is_final": True,
            "confidence": 0.95,
            "transcription_track": _TRACKS[speaker],
        }
        return self.webhook("call.transcription", transcription_data=said)

    async def tell(self, event_type: str, **payload: object) -> None:
        """Post an event that must be taken."""
        status, answer = await self.post(self.webhook(event_type, **payload))
        assert status == 200, (status, answer)

    def webhook(self, event_type: str, **payload: object) -> bytes:
        """Return the body of an event of this leg."""
        leg: dict[str, object] = {
            "call_control_id": self.leg_id,
            "call_leg_id": "leg-" + self.leg_id[-8:],
            "call_session_id": "session-" + self.leg_id[-8:],
            "connection_id": "1",
            "from": OURS,
            "to": self.number,
        }
        return json.dumps(
            {
                "data": {
                    "record_type": "event",
                    "event_type": event_type,
                    "id": str(uuid4()),
                    "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                    "payload": {**leg, **payload},
                },
                "meta": {"attempt": 1, "delivered_to": self._api.url},
            }
        ).encode()

    async def post(
        self, body: bytes, *, signed_with: WebhookSigner | None = None
    ) -> tuple[int, Any]:
        """Sign and post a body."""
        headers = (signed_with or self._signer).headers(body, timestamp=int(time.time()))
        return await self._api.send("POST", "/telnyx/webhooks", body=body, headers=headers)


# --- the media socket -----------------------------------------------------------------------------

CONNECTED = json.dumps({"event": "connected", "version": "1.0.0"})
STOP = json.dumps({"event": "stop", "stream_id": "S1", "stop": {}})


def start_frame(leg_id: str, *, encoding: str = "PCMU", sample_rate: int = 8000) -> str:
    """Return the frame that names the call and the codec."""
    media_format = {"encoding": encoding, "sample_rate": sample_rate, "channels": 1}
    start = {"call_control_id": leg_id, "media_format": media_format}
    return json.dumps({"event": "start", "sequence_number": "1", "stream_id": "S1", "start": start})


def media_frame(chunk: int, payload: bytes = b"\xff" * 160, track: str = "inbound") -> str:
    """Return 20 ms of the prospect's voice, by default silence."""
    media = {
        "track": track,
        "chunk": str(chunk),
        "timestamp": str(chunk * 20),
        "payload": b64encode(payload).decode(),
    }
    return json.dumps(
        {"event": "media", "sequence_number": str(chunk + 1), "stream_id": "S1", "media": media}
    )


async def close_reason(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
    """Return how the service closed a socket: code and words."""
    message = await socket.receive(timeout=10)
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return int(message.data), str(message.extra)
