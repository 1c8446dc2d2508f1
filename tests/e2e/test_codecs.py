"""The media socket in AMR-WB, which nothing here can encode: frames of a recording."""

from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api
from tests.e2e.phone import CONNECTED, STOP, Phone, close_reason, media_frame, start_frame

pytestmark = pytest.mark.e2e

RECORDINGS = Path(__file__).parents[1] / "amr"
# octets of a frame by its type, its header not counted (RFC 4867)
SIZES = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)


def payloads(party: str) -> list[bytes]:
    """Return a recording's frames as Telnyx would send them: octet-aligned."""
    raw = (RECORDINGS / f"{party}.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    found, at = [], 0
    while at < len(raw):
        end = at + 1 + SIZES[raw[at] >> 3 & 0x0F]
        found.append(b"\xf0" + raw[at:end])
        at = end
    return found


async def test_both_voices_are_heard_in_amr_wb(shared: Shared, api: Api):
    phone = Phone(api, shared.signer)
    answer = await api.attach(phone.leg_id, passive=True)
    await phone.answer()
    url = f"{api.url}/telnyx/media?token={answer['token']}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str(CONNECTED)
        await socket.send_str(start_frame(phone.leg_id, encoding="AMR-WB", sample_rate=16_000))
        voices = zip(payloads("prospect"), payloads("agent"), strict=True)
        for chunk, (prospect, agent) in enumerate(voices, start=1):
            await socket.send_str(media_frame(chunk, prospect))
            await socket.send_str(media_frame(chunk, agent, "outbound"))
        await socket.send_str(STOP)
        code, _ = await close_reason(socket)
        assert code == aiohttp.WSCloseCode.OK
    await phone.hang_up()
    view = await api.finished(answer["call_id"])
    by_ear = [s for s in view["segments"] if s["acoustics"] is not None]
    assert {s["speaker"] for s in by_ear} == {"prospect", "agent"}
    assert all(-50 < s["acoustics"]["volume_dbfs"] < -5 for s in by_ear)
