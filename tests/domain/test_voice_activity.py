import numpy as np

from agent_sidecar.domain.voice_activity import (
    FAINT,
    LOUD,
    LOWEST_FLOOR_DBFS,
    SILENT,
    STEADY_S,
    STEP_S,
    VoiceActivity,
)

STEADY = round(STEADY_S / STEP_S)


def judge(activity: VoiceActivity, *levels: float) -> list[int]:
    return [activity.judge(level) for level in levels]


def test_what_stands_out_is_loud_what_hardly_does_is_faint():
    activity = VoiceActivity()
    judge(activity, *[-55.0] * STEADY)
    activity.learn_noise()
    assert judge(activity, -54.0, -48.0, -40.0) == [SILENT, FAINT, LOUD]


def test_what_is_far_below_the_speech_before_is_silent():
    activity = VoiceActivity()
    judge(activity, *[-20.0] * 10)
    assert judge(activity, -53.0) == [SILENT]
    assert judge(VoiceActivity(), -53.0) == [LOUD]


def test_digital_silence_is_no_noise_but_lets_the_floor_sink():
    activity = VoiceActivity()
    judge(activity, *[-45.0] * STEADY)
    activity.learn_noise()
    assert judge(activity, -90.0, -45.0) == [SILENT, SILENT]
    judge(activity, *[-90.0] * 100)
    assert activity._floor == LOWEST_FLOOR_DBFS


def test_several_steps_of_digital_silence_are_what_each_of_them_is():
    one, other = VoiceActivity(), VoiceActivity()
    for activity in (one, other):
        judge(activity, *[-45.0] * STEADY)
        activity.learn_noise()
    judge(one, *[-90.0] * 7)
    assert other.rest([-90.0] * 7)
    assert np.isclose(one._floor, other._floor)
    assert not other.rest([-90.0, -60.0])
    assert not other.rest([])


def test_the_floor_sinks_at_once_and_rises_slowly_in_speech():
    activity = VoiceActivity()
    judge(activity, *[-45.0] * STEADY)
    activity.learn_noise()
    judge(activity, *[-60.0] * 10)
    assert judge(activity, -50.0) == [LOUD]
    judge(activity, *[-20.0] * 50)
    assert activity._floor < -55.0


def test_steadiness_is_reached_once_and_begins_anew_when_the_level_moves():
    activity = VoiceActivity()
    reached = []
    for _ in range(STEADY + 5):
        activity.judge(-40.0)
        reached.append(activity.steadiness.reached)
    assert reached.index(True) == STEADY - 1
    assert reached.count(True) == 1
    assert activity.steadiness.level_dbfs == -40.0
    activity.judge(-30.0)
    assert not activity.steadiness.reached
    judge(activity, *[-30.0] * (STEADY - 1))
    assert activity.steadiness.reached


def test_the_quietest_moments_of_speech_are_the_floor_when_speech_stands_out():
    activity = VoiceActivity()
    judge(activity, *[-20.0, -18.0, -22.0, -42.0, -41.0] * 15)
    assert -43.0 < activity._floor < -38.0
    flat = VoiceActivity()
    judge(flat, *[-20.0, -18.0, -26.0, -32.0, -24.0] * 15)
    assert flat._floor < -50.0
