import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.audio import RATE_HZ, level_dbfs
from agent_sidecar.domain.decimate import Decimator
from agent_sidecar.domain.types import Samples

WIDE = [16_000, 24_000, 48_000]


def tone(hz: float, rate_hz: int, seconds: float = 1.0) -> Samples:
    at = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * at)).astype(np.float32)


def test_what_has_the_rate_already_passes_through():
    samples = tone(440, RATE_HZ)
    assert Decimator(RATE_HZ).decimate(samples) is samples


@pytest.mark.parametrize("rate_hz", WIDE)
@pytest.mark.parametrize("hz", [100, 440, 1000, 3000, 3400])
def test_what_a_telephone_carries_keeps_its_frequency_and_level(rate_hz: int, hz: float):
    out = Decimator(rate_hz).decimate(tone(hz, rate_hz))
    assert out.dtype == np.float32
    assert out.size == RATE_HZ
    settled = out[400:]
    assert level_dbfs(settled) == pytest.approx(level_dbfs(tone(hz, RATE_HZ)), abs=0.1)
    spectrum = np.abs(np.fft.rfft(settled * np.hanning(settled.size)))
    assert np.argmax(spectrum) * RATE_HZ / settled.size == pytest.approx(hz, abs=2)


@pytest.mark.parametrize("rate_hz", WIDE)
@pytest.mark.parametrize("hz", [4700, 5500, 7000])
def test_what_would_fold_back_is_gone(rate_hz: int, hz: float):
    out = Decimator(rate_hz).decimate(tone(hz, rate_hz))
    assert level_dbfs(out[400:]) < level_dbfs(tone(hz, rate_hz)) - 60


@given(
    rate_hz=st.sampled_from(WIDE),
    cuts=st.lists(st.integers(min_value=0, max_value=700), max_size=20),
)
def test_where_the_samples_are_cut_changes_nothing(rate_hz: int, cuts: list[int]):
    samples = np.random.default_rng(1).normal(0, 0.1, sum(cuts)).astype(np.float32)
    decimator = Decimator(rate_hz)
    ends = np.cumsum(cuts, dtype=int)
    pieces = [decimator.decimate(samples[end - n : end]) for n, end in zip(cuts, ends, strict=True)]
    whole = Decimator(rate_hz).decimate(samples)
    together = np.concatenate([np.zeros(0, np.float32), *pieces])
    assert together.size == whole.size == -(-samples.size // (rate_hz // RATE_HZ))
    np.testing.assert_allclose(together, whole, atol=1e-5)
