"""What a played stream sends is what the service hears, in every codec that can be played."""

import sys

import numpy as np
import pytest

from agent_sidecar.adapters.av_decoder import AvDecoders
from agent_sidecar.codecs import Codecs
from agent_sidecar.commands.replay import stream_codec
from agent_sidecar.domain.audio import G711, level_dbfs
from agent_sidecar.errors import CodecUnsupported
from tests.domain.sounds import ulaw, voice

CODECS = Codecs(AvDecoders.load(), l16_byte_order=None)
SAID = ulaw(voice(1.0, level=0.1))
FRAMES = [SAID[at : at + 160] for at in range(0, len(SAID), 160)]


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "L16", "L16-LE", "G722", "OPUS"])
def test_a_voice_is_heard_as_it_was_sent(name: str):
    codec = stream_codec(name)
    encode = codec.new_encoder()
    payloads = [encode(frame) for frame in FRAMES]
    assert all(payloads)
    heard = CODECS.open(codec.media_format)().decode(payloads)
    sent = G711.ulaw().decode(FRAMES)
    assert heard.size == sent.size
    assert level_dbfs(heard[800:]) == pytest.approx(level_dbfs(sent[800:]), abs=1)
    # shifted by what the codec and the low pass delay
    best = max(
        float(np.corrcoef(heard[800 + shift : 4800 + shift], sent[800:4800])[0, 1])
        for shift in range(160)
    )
    # Opus keeps what a voice sounds like, not its phases
    assert best > (0.8 if name == "OPUS" else 0.97)


def test_each_track_has_an_encoder_of_its_own():
    codec = stream_codec("G722")
    one, other = codec.new_encoder(), codec.new_encoder()
    first = [one(frame) for frame in FRAMES]
    assert [other(frame) for frame in FRAMES] == first


@pytest.mark.parametrize("name", ["G722", "OPUS"])
def test_without_the_extra_the_reason_names_it(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CodecUnsupported, match=r"pip install '.\[codecs\]'"):
        stream_codec(name)
    stream_codec("L16")
