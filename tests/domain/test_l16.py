import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.audio import RATE_HZ, level_dbfs
from agent_sidecar.domain.l16 import L16, ByteOrder, StreamOrder
from agent_sidecar.domain.types import Samples
from tests.domain.sounds import noise, voice

RATES = [8000, 16_000, 24_000]
ORDERS: list[ByteOrder] = ["big", "little"]


def at_rate(samples: Samples, rate_hz: int) -> Samples:
    """Return the same sound at a higher rate."""
    times = np.arange(samples.size * rate_hz // RATE_HZ) * RATE_HZ / rate_hz
    return np.interp(times, np.arange(samples.size), samples).astype(np.float32)


def encoded(samples: Samples, order: ByteOrder, rate_hz: int = RATE_HZ) -> list[bytes]:
    """Return payloads of 20 ms."""
    wide = np.clip(at_rate(samples, rate_hz) * 32767, -32768, 32767)
    raw = wide.astype(">i2" if order == "big" else "<i2").tobytes()
    size = 2 * rate_hz // 50
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def in_batches(decoder: L16, payloads: list[bytes]) -> Samples:
    parts = [decoder.decode(payloads[at : at + 10]) for at in range(0, len(payloads), 10)]
    return np.concatenate(parts)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("level", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("is_set", [True, False])
def test_a_voice_comes_out_as_it_went_in(
    order: ByteOrder, rate_hz: int, level: float, is_set: bool
):
    said = level * np.concatenate((noise(0.5), voice(1.0, pitch_hz=140), noise(0.5)))
    said = said.astype(np.float32)
    stream = StreamOrder(order if is_set else None)
    heard = in_batches(L16(rate_hz, stream), encoded(said, order, rate_hz))
    assert stream.order == order
    assert heard.dtype == np.float32
    assert heard.size == said.size
    assert level_dbfs(heard[4000:12000]) == pytest.approx(level_dbfs(said[4000:12000]), abs=0.3)


@pytest.mark.parametrize("order", ORDERS)
def test_at_the_lowest_rate_nothing_but_the_rounding_is_lost(order: ByteOrder):
    said = voice(0.5)
    heard = in_batches(L16(RATE_HZ, StreamOrder(order)), encoded(said, order))
    assert np.abs(heard - said).max() < 2 / 32768


@pytest.mark.parametrize("order", ORDERS)
def test_both_tracks_know_what_one_has_found(order: ByteOrder):
    stream = StreamOrder()
    one, other = L16(RATE_HZ, stream), L16(RATE_HZ, stream)
    in_batches(one, encoded(voice(0.5), order))
    assert stream.order == order
    said = voice(0.02)
    assert np.abs(other.decode(encoded(said, order)) - said).max() < 2 / 32768


@pytest.mark.parametrize("order", ORDERS)
def test_silence_decides_nothing_and_is_silent_however_it_is_read(order: ByteOrder):
    stream = StreamOrder()
    decoder = L16(RATE_HZ, stream)
    assert not in_batches(decoder, [bytes(320)] * 50).any()
    # the dither of a quiet line: one or two steps of the last bit
    dither = np.random.default_rng(3).integers(-2, 3, 8000).astype(np.float32) / np.float32(32767)
    heard = in_batches(decoder, encoded(dither, order))
    assert level_dbfs(heard) < -80
    assert stream.order is None
    in_batches(decoder, encoded(voice(0.5), order))
    assert stream.order == order


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_syllables_are_heard_right_before_anything_is_decided(order: ByteOrder):
    stream = StreamOrder()
    said = voice(0.06)
    heard = L16(RATE_HZ, stream).decode(encoded(said, order))
    assert stream.order is None
    assert np.abs(heard - said).max() < 2 / 32768


@pytest.mark.parametrize("order", ORDERS)
def test_a_voice_too_faint_to_tell_by_is_heard_right_all_the_same(order: ByteOrder):
    # within one byte: smooth either way, and 48 dB louder the wrong way
    said = voice(1.0, level=0.001)
    stream = StreamOrder()
    heard = in_batches(L16(RATE_HZ, stream), encoded(said, order))
    assert stream.order is None
    assert np.abs(heard - said).max() < 2 / 32768


def test_hiss_decides_nothing():
    stream = StreamOrder()
    hiss = noise(2.0, level=0.05)
    heard = in_batches(L16(RATE_HZ, stream), encoded(hiss, "little"))
    assert stream.order is None
    # and of two hisses the quieter one is heard
    assert level_dbfs(heard) == pytest.approx(level_dbfs(hiss), abs=0.1)


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_decided_stays_so(order: ByteOrder):
    stream = StreamOrder()
    decoder = L16(RATE_HZ, stream)
    in_batches(decoder, encoded(voice(0.5), order))
    in_batches(decoder, encoded(voice(2.0), "little" if order == "big" else "big"))
    assert stream.order == order


def test_half_a_sample_at_the_end_of_a_payload_shifts_nothing():
    said = voice(0.2)
    payloads = [payload + b"\x7f" for payload in encoded(said, "big")]
    decoder = L16(RATE_HZ, StreamOrder("big"))
    assert np.abs(decoder.decode(payloads) - said).max() < 2 / 32768
    assert decoder.garbled == 10
    assert decoder.decode([b"\x01"]).size == 320 // 2


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_lost_payload_is_silence_of_its_length(rate_hz: int):
    decoder = L16(rate_hz, StreamOrder("little"))
    payloads = encoded(voice(0.2), "little", rate_hz)
    payloads[4] = b""
    heard = decoder.decode(payloads)
    assert heard.size == 1600
    # what the low pass smears around it is left out
    assert np.abs(heard[4 * 160 + 45 : 5 * 160]).max() == 0.0
    assert np.abs(heard[: 4 * 160]).max() > 0.1


@given(
    payloads=st.lists(st.binary(max_size=700), max_size=12),
    rate_hz=st.sampled_from(RATES),
    order=st.sampled_from([None, *ORDERS]),
)
def test_whatever_the_bytes_are_samples_come_out(
    payloads: list[bytes], rate_hz: int, order: ByteOrder | None
):
    decoder = L16(rate_hz, StreamOrder(order))
    for _ in range(2):
        heard = decoder.decode(payloads)
        assert np.isfinite(heard).all()
        assert np.abs(heard).max(initial=0.0) < 1.5
        assert heard.size <= sum(max(len(p) // 2, rate_hz // 8) for p in payloads)
