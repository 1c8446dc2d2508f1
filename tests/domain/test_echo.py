import numpy as np
import pytest

from agent_sidecar.domain.echo import EchoFinder, Heard, _Path
from agent_sidecar.domain.types import Samples
from bench._line import echo_of
from bench._line import noise as line_noise
from bench._spoken import Voice
from tests.domain.sounds import RATE_HZ, voice


def finder(ours: Samples, theirs: Samples) -> EchoFinder:
    """Return a finder that has heard both tracks to their end, from second 0."""
    tracks = []
    for samples in (ours, theirs):
        heard = Heard()
        heard.add(samples, samples.size / RATE_HZ)
        tracks.append(heard)
    return EchoFinder(*tracks)


def said(seed: int = 3, pitch_hz: float = 120.0) -> Samples:
    return Voice(seed, pitch_hz=pitch_hz).turn(4.0).samples[: 2 * RATE_HZ]


@pytest.mark.parametrize("delay_s", [0.02, 0.1375, 0.4])
@pytest.mark.parametrize("loss_db", [7, 20])
def test_a_leak_is_found(delay_s, loss_db):
    theirs = said()
    leak = echo_of(theirs, delay_s=delay_s, loss_db=loss_db)
    found = finder(leak, theirs).find(0.6, 40)
    assert found is not None
    assert found.mean() > 0.7


def test_a_known_way_is_used_again_and_given_up_when_it_has_changed():
    theirs = said()
    finding = finder(echo_of(theirs, delay_s=0.1, loss_db=10), theirs)
    assert finding.find(0.4, 40) is not None
    path = finding._path
    short = finding.find(0.8, 8)
    assert short is not None
    assert short.any()
    assert finding._path is path
    finding._ours.add(echo_of(theirs, delay_s=0.3, loss_db=15), 4.0)
    finding._theirs.add(theirs, 4.0)
    moved = finding.find(2.9, 40)
    assert moved is not None
    assert moved.mean() > 0.6
    assert finding._path is not path


def test_somebody_else_is_no_echo():
    ours, theirs = said(8, 200.0), said()
    for gain in (1.0, 0.2):
        assert finder(gain * ours, theirs).find(0.5, 40) is None


def test_the_same_voice_as_loud_is_no_echo():
    assert finder(said(), said()).find(0.5, 40) is None


def test_two_monotonous_voices_of_one_pitch_are_no_echo():
    assert finder(0.2 * voice(2.0), voice(2.0)).find(0.5, 40) is None


def test_what_is_hardly_quieter_is_no_leak():
    # alike, swelling together, but hardly quieter: only what does not leak is loud
    theirs = said()
    ours = 0.8 * np.roll(theirs, 800)
    theirs[round(0.5 * RATE_HZ) : round(0.7 * RATE_HZ)] *= 4.0
    assert finder(ours, theirs).find(0.9, 30) is None


def test_nothing_leaks_from_silence_and_too_little_is_not_judged():
    quiet = line_noise(2 * RATE_HZ, 40, 1)
    assert finder(said(), quiet).find(0.5, 40) is None
    theirs = said()
    assert finder(echo_of(theirs, delay_s=0.1, loss_db=9), theirs).find(0.5, 5) is None


def test_a_track_is_kept_for_a_while_and_silence_is_what_is_not_known():
    heard = Heard()
    for second in range(5):
        heard.add(np.full(RATE_HZ, second + 1.0, np.float32), second + 1.0)
    assert sum(batch.size for batch in heard._batches) <= (heard.KEEP_S + 1) * RATE_HZ
    assert heard.between(4.5, RATE_HZ).tolist() == [5.0] * (RATE_HZ // 2) + [0.0] * (RATE_HZ // 2)
    assert not heard.between(0.0, RATE_HZ).any()
    assert heard.between(3.9, 1600).tolist() == [4.0] * 800 + [5.0] * 800


def test_another_way_that_explains_little_more_is_believed_when_it_is_found_twice():
    theirs = said()
    ours = echo_of(theirs, delay_s=0.1, loss_db=10)
    # the second half comes another way
    middle = round(1.2 * RATE_HZ)
    ours[middle:] = echo_of(theirs, delay_s=0.2, loss_db=10)[middle:]
    finding = finder(ours, theirs)
    known = finding._path = _Path(delay=round(0.1 * RATE_HZ), gain_db=-10.0)
    assert finding.find(1.05, 40) is not None
    assert finding._path is known
    again = finding.find(1.05, 40)
    assert again is not None
    assert finding._path is finding._rival
    assert finding._path.delay == pytest.approx(0.2 * RATE_HZ, abs=8)
