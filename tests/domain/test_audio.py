from collections.abc import Callable

import numpy as np
import pytest

from agent_sidecar.domain.audio import (
    G711,
    LONGEST_GAP_S,
    MOST_SILENCE_S,
    RATE_HZ,
    SILENCE_DBFS,
    level_dbfs,
)

EVERY_CODE = bytes(range(256))
FRAME = 160


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
    ("new", "reference"), [(G711.ulaw, ulaw_to_linear), (G711.alaw, alaw_to_linear)]
)
def test_every_code_decodes_as_g711_says(new: Callable[[], G711], reference: Callable[[int], int]):
    samples = new().decode([EVERY_CODE[:100], EVERY_CODE[100:]])
    assert samples.dtype == np.float32
    assert (samples * 32768).tolist() == [reference(code) for code in range(256)]


@pytest.mark.parametrize("new", [G711.ulaw, G711.alaw])
def test_a_lost_payload_is_silence_as_long_as_the_one_before(new: Callable[[], G711]):
    decoder = new()
    loud = b"\x00" * 80
    first = decoder.decode([b"", loud, b"", loud[:40], b""])
    assert first.size == FRAME + 80 + 80 + 40 + 40
    for silent in (first[:FRAME], first[FRAME + 80 : FRAME + 160], first[-40:]):
        assert np.abs(silent).max() < 1e-3
    # the length is remembered from one batch to the next
    assert decoder.decode([b"", b""]).size == 80
    assert decoder.decode([]).size == 0
    assert decoder.garbled == 0


def test_however_long_a_payload_is_its_loss_is_short():
    decoder = G711.ulaw()
    decoder.decode([b"\xff" * 100_000])
    assert decoder.decode([b""]).size == RATE_HZ * LONGEST_GAP_S


def test_however_much_is_lost_silence_has_an_end():
    decoder = G711.ulaw()
    decoder.decode([b"\x00" * 960])
    assert decoder.decode([b""] * 10_000).size == RATE_HZ * MOST_SILENCE_S
    assert decoder.decode([b"", b"\x00" * 160, b""]).size == 320


def test_the_level_of_a_full_scale_square_wave_is_zero_and_halves_by_six_db():
    square = np.tile(np.array([1.0, -1.0], np.float32), 80)
    assert level_dbfs(square) == pytest.approx(0.0, abs=1e-6)
    assert level_dbfs(np.asarray(square / 2, np.float32)) == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(160, np.float32), np.zeros(0, np.float32)])
def test_silence_and_nothing_have_the_lowest_level(samples):
    assert level_dbfs(samples) == SILENCE_DBFS
