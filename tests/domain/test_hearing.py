"""What the product promises to hear, on every kind of line; `bench/hearing.py` has more of each."""

from functools import lru_cache

import numpy as np
import pytest

from bench import _line as line
from bench._spoken import RATE_HZ, Said, Voice, conversation, overlap_s
from bench.hearing import CONDITIONS, Call, Score, hear

SEED, LENGTH_S = 5, 32.0
# of a call so short one turn may lose an edge, and 0.3 s are 10 % of its overtalk
ECHOES = [name for name in CONDITIONS if name.startswith("echo")]
HOLDS = [name for name in CONDITIONS if name.startswith(("music", "ringback"))]
LINES = [name for name in CONDITIONS if name not in {*ECHOES, *HOLDS}]
OVERTALK_S = 0.4


@lru_cache(maxsize=1)
def said() -> tuple[Said, Said]:
    return conversation(SEED, LENGTH_S)


def score(name: str) -> Score:
    call, made = CONDITIONS[name](said(), SEED), Score()
    made.add(call, hear(call))
    return made


@pytest.mark.parametrize("name", LINES)
def test_turns_overtalk_pauses_and_pitch_are_heard_as_promised(name):
    found = score(name)
    assert found.turns >= 8
    assert found.turns - found.both <= 1
    assert found.overtalk_heard_s == pytest.approx(found.overtalk_s, abs=OVERTALK_S)
    assert found.pauses - found.pauses_right <= 1
    # what is lost for longer than it can be concealed has no pitch
    assert found.pitched >= (0.9 if "bursts" in name else 0.95) * found.windows
    assert found.false_s < 0.2
    assert found.masked_s == 0.0


@pytest.mark.parametrize("name", ECHOES)
def test_an_echo_is_nobody_s_speech_and_hides_none(name):
    found = score(name)
    # what is hardly quieter than oneself hides one's own soft ends
    assert found.turns - found.both <= (2 if name.endswith("-6 dB") else 1)
    assert found.overtalk_heard_s == pytest.approx(found.overtalk_s, abs=OVERTALK_S)
    assert found.false_s < 0.6


@pytest.mark.parametrize("name", HOLDS)
def test_music_and_tones_are_nobody_s_speech_and_are_counted(name):
    found = score(name)
    assert found.false_s < 0.2
    assert found.turns == found.both
    assert found.masked_s > 2.0


def spoken(seed: int, length_s: float, start_s: float, total_s: float, pitch_hz: float) -> Said:
    """Return a track on which a voice says something from that second on."""
    turn = Voice(seed, pitch_hz=pitch_hz).turn(length_s)
    out = Said(np.zeros(round(total_s * RATE_HZ), np.float32))
    start = round(start_s * RATE_HZ)
    out.samples[start : start + turn.samples.size] = turn.samples
    out.active = [(a + start_s, b + start_s) for a, b in turn.active]
    return out


@pytest.mark.parametrize(("delay_s", "loss_db"), [(0.02, 8), (0.2, 12), (0.4, 20), (0.1, 28)])
def test_the_echo_of_the_other_alone_is_not_heard_at_all(delay_s, loss_db):
    agent = spoken(3, 5.0, 1.0, 8.0, 110)
    leak = line.echo_of(agent.samples, delay_s=delay_s, loss_db=loss_db)
    ears = hear(Call((agent, agent), (leak, agent.samples)))
    assert {speech.party for speech in ears.told} == {"agent"}
    assert sum(speech.acoustics.overtalk_s for speech in ears.told) == 0.0
    assert ears.echo_s > 0.5


def test_somebody_who_breaks_in_on_top_of_an_echo_is_heard_to_break_in():
    agent, prospect = spoken(3, 6.0, 1.0, 9.0, 110), spoken(8, 2.0, 3.5, 9.0, 190)
    leak = line.echo_of(agent.samples, delay_s=0.15, loss_db=12)
    ears = hear(Call((prospect, agent), (prospect.samples + leak, agent.samples)))
    (broke_in,) = [speech for speech in ears.told if speech.party == "prospect"]
    assert broke_in.start_s == pytest.approx(prospect.turns[0][0], abs=0.12)
    assert broke_in.end_s == pytest.approx(prospect.turns[0][1], abs=0.12)
    assert broke_in.acoustics.interruptions == 1
    truth_s = overlap_s(prospect.talk, agent.talk)
    assert broke_in.acoustics.overtalk_s == pytest.approx(truth_s, abs=0.2)


@pytest.mark.parametrize("pitch_hz", [112, 150, 220])
def test_two_voices_at_once_are_never_taken_for_an_echo(pitch_hz):
    agent, prospect = spoken(3, 6.0, 1.0, 9.0, 112), spoken(8, 4.0, 1.5, 9.0, pitch_hz)
    quiet = line.gain(prospect.samples, -12)
    ears = hear(Call((prospect, agent), (quiet, agent.samples)))
    assert ears.echo_s == 0.0
    assert [speech.party for speech in ears.told if speech.acoustics.overtalk_s > 2.0]


@pytest.mark.parametrize("on_track", [0, 1])
def test_who_speaks_after_the_music_is_heard(on_track):
    voice = spoken(4, 3.0, 12.5, 17.0, 120)
    sound = np.concatenate((line.music(11.0, "band"), np.zeros(6 * RATE_HZ, np.float32)))
    tracks = [np.zeros(17 * RATE_HZ, np.float32), np.zeros(17 * RATE_HZ, np.float32)]
    tracks[on_track] = voice.samples + sound
    ears = hear(Call((voice, voice), (tracks[0], tracks[1])))
    (heard,) = ears.told
    assert heard.start_s == pytest.approx(voice.turns[0][0], abs=0.12)
    assert heard.acoustics.response_latency_s is None
    assert ears.masked_s == pytest.approx(11.0, abs=0.8)
