"""Streams in every codec: what is heard, what is lost, what is refused and why."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_sidecar.adapters.av_decoder import AvDecoders
from agent_sidecar.codecs import Codecs
from agent_sidecar.domain.audio import RATE_HZ, Decoder, level_dbfs
from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.domain.types import Samples
from agent_sidecar.errors import CodecUnsupported

CODECS = Codecs(AvDecoders.load(), l16_byte_order=None)
RECORDINGS = Path(__file__).parents[1] / "amr"
# encoding, the rate that its start frame names
PACKETS = [("G722", 8000), ("OPUS", 8000), ("OPUS", 16_000), ("OPUS", 48_000), ("AMR-WB", 16_000)]
# half of full scale
TONE_DBFS = 20 * np.log10(0.5 / np.sqrt(2))


def open_one(encoding: str, rate_hz: int = 8000, channels: int = 1) -> Decoder:
    media_format = MediaFormat(encoding=encoding, sample_rate_hz=rate_hz, channels=channels)
    return CODECS.open(media_format)()


def encoded(encoding: str, rate_hz: int, seconds: float = 1.0, hz: float = 440.0) -> list[bytes]:
    """Return 20 ms payloads of a tone by somebody else's encoder."""
    if encoding == "AMR-WB":
        return stored("tone-mode2")
    rate_hz = 16_000 if encoding == "G722" else rate_hz
    wave = 0.5 * 32767 * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)
    encoder = av.CodecContext.create("g722" if encoding == "G722" else "libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, "mono", "s16"
    encoder.options = {} if encoding == "G722" else {"application": "voip"}
    packets, size = [], rate_hz // 50
    for at in range(0, wave.size, size):
        samples = wave[at : at + size].astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, at
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def stored(name: str) -> list[bytes]:
    """Return the frames of an .awb file as octet-aligned payloads; made with vo-amrwbenc 0.1.3."""
    raw = (RECORDINGS / f"{name}.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    sizes = [17, 23, 32, 36, 40, 46, 50, 58, 60, 5, *[0] * 6]
    payloads, at = [], 0
    while at < len(raw):
        end = at + 1 + sizes[raw[at] >> 3 & 0x0F]
        payloads.append(b"\xf0" + raw[at:end])
        at = end
    return payloads


def decoded(decoder: Decoder, payloads: Sequence[bytes]) -> Samples:
    parts = [decoder.decode(payloads[at : at + 10]) for at in range(0, len(payloads), 10)]
    return np.concatenate(parts)


def snr_db(heard: Samples, hz: float = 440.0) -> float:
    """Return how much louder the tone is than everything else."""
    at = np.arange(heard.size) / RATE_HZ
    waves = np.stack([np.sin(2 * np.pi * hz * at), np.cos(2 * np.pi * hz * at)])
    fitted = np.linalg.lstsq(waves.T, heard, rcond=None)[0] @ waves
    return float(10 * np.log10(np.sum(fitted**2) / np.sum((heard - fitted) ** 2)))


@pytest.mark.parametrize(("encoding", "rate_hz"), PACKETS)
def test_a_tone_comes_out_with_its_length_its_level_and_little_else(encoding: str, rate_hz: int):
    payloads = encoded(encoding, rate_hz)
    decoder = open_one(encoding, rate_hz)
    heard = decoded(decoder, payloads)
    assert heard.dtype == np.float32
    assert heard.size == 160 * len(payloads) == RATE_HZ
    settled = heard[800:]
    assert level_dbfs(settled) == pytest.approx(TONE_DBFS, abs=0.5)
    assert snr_db(settled) > 15
    assert decoder.garbled == 0


@pytest.mark.parametrize("mode", [0, 2, 8])
def test_every_bit_rate_of_amr_wb_is_heard(mode: int):
    heard = decoded(open_one("AMR-WB", 16_000), stored(f"tone-mode{mode}"))
    assert level_dbfs(heard[800:]) == pytest.approx(TONE_DBFS, abs=0.5)
    assert snr_db(heard[800:]) > 12


def test_comfort_noise_between_words_is_nearly_silent():
    payloads = stored("prospect")
    heard = decoded(open_one("AMR-WB", 16_000), payloads)
    assert heard.size == 160 * len(payloads)
    levels = [level_dbfs(heard[at : at + 1600]) for at in range(0, heard.size, 1600)]
    assert max(levels) > -26
    assert np.quantile(levels, 0.3) < -60


@pytest.mark.parametrize(("encoding", "rate_hz"), PACKETS)
def test_lost_payloads_are_as_long_as_they_would_have_been(encoding: str, rate_hz: int):
    payloads = [b"" if 20 <= n < 25 else p for n, p in enumerate(encoded(encoding, rate_hz))]
    decoder = open_one(encoding, rate_hz)
    heard = decoded(decoder, payloads)
    assert heard.size == RATE_HZ
    # whether concealed or silent it fades, and what comes after is heard as before
    assert level_dbfs(heard[24 * 160 : 25 * 160]) < TONE_DBFS - 3
    assert level_dbfs(heard[35 * 160 :]) == pytest.approx(TONE_DBFS, abs=0.8)
    assert decoder.garbled == 0


@pytest.mark.parametrize(("encoding", "rate_hz"), PACKETS)
def test_a_stream_may_begin_with_a_loss(encoding: str, rate_hz: int):
    assert open_one(encoding, rate_hz).decode([b"", b""]).size == 320
    assert open_one(encoding, rate_hz).decode([]).size == 0


@pytest.mark.parametrize("encoding", ["OPUS", "AMR-WB"])
def test_garbage_is_counted_and_silent_and_harms_nothing_after_it(encoding: str):
    payloads = encoded(encoding, 16_000)
    decoder = open_one(encoding, 16_000)
    before = decoder.decode(payloads[:20])
    garbage = decoder.decode([b"\xff" * 20] * 5)
    after = decoder.decode(payloads[20:])
    assert decoder.garbled == 5
    assert (before.size, garbage.size, after.size) == (3200, 800, 4800)
    assert level_dbfs(garbage[-160:]) < TONE_DBFS - 3
    assert level_dbfs(after[800:]) == pytest.approx(TONE_DBFS, abs=0.5)


ANY = [*PACKETS, ("PCMU", 8000), ("PCMA", 8000), ("L16", 8000), ("L16", 16_000), ("L16", 24_000)]


@pytest.mark.parametrize(("encoding", "rate_hz"), ANY)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(payloads=st.lists(st.binary(max_size=300) | st.just(b""), max_size=15))
def test_whatever_the_payloads_are_sound_comes_out(
    encoding: str, rate_hz: int, payloads: list[bytes]
):
    decoder = open_one(encoding, rate_hz)
    for _ in range(2):
        heard = decoder.decode(payloads)
        assert heard.dtype == np.float32
        assert np.isfinite(heard).all()
        # at most a second a payload: AMR-WB's longest
        assert heard.size <= RATE_HZ * len(payloads)


@pytest.mark.parametrize(("encoding", "rate_hz"), ANY)
def test_a_giant_payload_is_no_giant_sound(encoding: str, rate_hz: int):
    giant = bytes(range(256)) * 768
    decoder = open_one(encoding, rate_hz)
    assert decoder.decode([giant]).size <= len(giant)
    # and what is lost after it is short
    assert decoder.decode([b""]).size <= 0.13 * RATE_HZ


@pytest.mark.parametrize(("encoding", "rate_hz"), PACKETS)
def test_each_track_has_a_decoder_of_its_own(encoding: str, rate_hz: int):
    new = CODECS.open(MediaFormat(encoding=encoding, sample_rate_hz=rate_hz))
    one, other = new(), new()
    payloads = encoded(encoding, rate_hz)
    alone = open_one(encoding, rate_hz).decode(payloads)
    parts = []
    for payload in payloads:
        parts.append(one.decode([payload]))
        other.decode([payloads[0]])
    np.testing.assert_allclose(np.concatenate(parts), alone, atol=1e-4)


def test_both_tracks_of_l16_share_what_one_has_found():
    new = CODECS.open(MediaFormat(encoding="l16", sample_rate_hz=8000))
    one, other = new(), new()
    at = np.arange(3200) / 8000
    raw = (8000 * np.sin(2 * np.pi * 200 * at)).astype("<i2").tobytes()
    heard = one.decode([raw[n : n + 320] for n in range(0, len(raw), 320)])
    assert level_dbfs(heard) == pytest.approx(-15.3, abs=0.1)
    # a hiss that would be heard as loud the one way as the other
    hiss = np.random.default_rng(1).integers(-3000, 3000, 1600).astype("<i2")
    assert np.array_equal(other.decode([hiss.tobytes()]) * 32768, hiss)


@pytest.mark.parametrize(
    ("media_format", "named"),
    [
        (("SPEEX", 16_000, 1), "SPEEX at 16000 Hz, 1 channel.*only for PCMU, PCMA, L16, G722"),
        (("", 8000, 1), "stream_codec PCMU"),
        (("L16", 22_050, 1), "L16 at 22050 Hz.*only at 8000, 16000, 24000 Hz"),
        (("PCMU", 16_000, 1), "only at 8000 Hz"),
        (("PCMU", 8000, 2), r"2 channel\(s\): a track has one"),
        (("OPUS", 48_000, 2), "a track has one"),
        (("X" * 1000, 1, 1), "X{40} at"),
    ],
)
def test_what_is_not_heard_is_refused_with_its_reason(
    media_format: tuple[str, int, int], named: str
):
    with pytest.raises(CodecUnsupported, match=named) as refused:
        open_one(*media_format)
    assert "ask Telnyx for stream_codec PCMU" in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("encoding", "rate_hz"), PACKETS)
def test_without_the_extra_the_reason_names_it(
    encoding: str, rate_hz: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "av", None)
    codecs = Codecs(AvDecoders.load(), l16_byte_order=None)
    with pytest.raises(CodecUnsupported, match=r"pip install '.\[codecs\]', or ask"):
        codecs.open(MediaFormat(encoding=encoding, sample_rate_hz=rate_hz))
    for plain in ("PCMU", "PCMA", "L16"):
        codecs.open(MediaFormat(encoding=plain, sample_rate_hz=8000))()


def test_a_build_without_a_decoder_says_so(monkeypatch: pytest.MonkeyPatch):
    known = av.Codec

    def without_amr(name: str, mode: Literal["r", "w"] = "r") -> av.Codec:
        if "amrwb" in name:
            raise av.codec.codec.UnknownCodecError(name)
        return known(name, mode)

    monkeypatch.setattr(av, "Codec", without_amr)
    with pytest.raises(CodecUnsupported, match="no decoder for AMR-WB"):
        open_one("AMR-WB", 16_000)
    assert open_one("OPUS", 48_000).decode([b""]).size == 160


@pytest.mark.parametrize("name", ["opus", "amrwb"])
def test_ffmpeg_s_own_decoders_do_where_the_better_ones_are_missing(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    known = av.Codec

    def its_own(wanted: str, mode: Literal["r", "w"] = "r") -> av.Codec:
        if wanted.startswith("lib"):
            raise av.codec.codec.UnknownCodecError(wanted)
        return known(wanted, mode)

    monkeypatch.setattr(av, "Codec", its_own)
    encoding = {"opus": "OPUS", "amrwb": "AMR-WB"}[name]
    decoder = open_one(encoding, 16_000)
    heard = decoded(decoder, encoded(encoding, 48_000))
    assert level_dbfs(heard[800:]) == pytest.approx(TONE_DBFS, abs=3)
    assert decoder.decode([b"", b"\xff" * 20]).size == pytest.approx(320, abs=10)


@pytest.mark.parametrize(("setting", "order"), [("big", ">i2"), ("little", "<i2")])
@pytest.mark.real_time  # loads FFmpeg in a thread
async def test_the_byte_order_may_be_set(setting: str, order: str):
    codecs = await Codecs.load(setting)  # type: ignore[arg-type]
    decoder = codecs.open(MediaFormat(encoding="L16", sample_rate_hz=8000))()
    samples = np.arange(-800, 800, dtype=np.int16)
    assert np.array_equal(decoder.decode([samples.astype(order).tobytes()]) * 32768, samples)
    detecting = await Codecs.load("detect")
    assert detecting.open(MediaFormat(encoding="L16", sample_rate_hz=8000))().decode([]).size == 0
