import numpy as np
import pytest

from agent_sidecar.domain.audio import SILENCE_DBFS, decoder_for, level_dbfs
from agent_sidecar.domain.media import MediaFormat

EVERY_CODE = bytes(range(256))


def ulaw_to_linear(code: int) -> int:
    """Decode one code as the reference implementation of G.711 (Sun, g711.c) does."""
    code = ~code & 0xFF
    value = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return 0x84 - value if code & 0x80 else value - 0x84


def alaw_to_linear(code: int) -> int:
    """Decode one code as the reference implementation of G.711 (Sun, g711.c) does."""
    code ^= 0x55
    value, segment = (code & 0x0F) << 4, (code & 0x70) >> 4
    if segment == 0:
        value += 8
    elif segment == 1:
        value += 0x108
    else:
        value = (value + 0x108) << (segment - 1)
    return value if code & 0x80 else -value


@pytest.mark.parametrize(
    ("encoding", "reference"), [("PCMU", ulaw_to_linear), ("PCMA", alaw_to_linear)]
)
def test_every_code_decodes_as_g711_says(encoding, reference):
    decode = decoder_for(MediaFormat(encoding=encoding, sample_rate_hz=8000))
    assert decode is not None
    samples = decode(EVERY_CODE)
    assert samples.dtype == np.float32
    assert (samples * 32768).tolist() == [reference(code) for code in range(256)]


def test_an_encoding_is_known_in_any_spelling():
    assert decoder_for(MediaFormat(encoding="pcmu", sample_rate_hz=8000)) is not None


@pytest.mark.parametrize(
    "media_format",
    [
        MediaFormat(encoding="OPUS", sample_rate_hz=8000),
        MediaFormat(encoding="PCMU", sample_rate_hz=16000),
        MediaFormat(encoding="PCMU", sample_rate_hz=8000, channels=2),
    ],
)
def test_what_nothing_here_decodes_has_no_decoder(media_format):
    assert decoder_for(media_format) is None


def test_the_level_of_a_full_scale_square_wave_is_zero_and_halves_by_six_db():
    square = np.tile(np.array([1.0, -1.0], np.float32), 80)
    assert level_dbfs(square) == pytest.approx(0.0, abs=1e-6)
    assert level_dbfs(np.asarray(square / 2, np.float32)) == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(160, np.float32), np.zeros(0, np.float32)])
def test_silence_and_nothing_have_the_lowest_level(samples):
    assert level_dbfs(samples) == SILENCE_DBFS
