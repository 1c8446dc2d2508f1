from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.record import Acoustics, LeadTraits, TranscriptSegment
from agent_sidecar.domain.traits import TraitsHeard, level, read_traits
from agent_sidecar.domain.types import ObjectionType
from tests.domain.playbooks import STARTED_AT, TRUST

LINE = TranscriptSegment(
    index=0, speaker="prospect", text="we have a car", at=STARTED_AT, start_s=0, end_s=1
)


def lines(*texts: str) -> list[TranscriptSegment]:
    return [replace(LINE, text=text) for text in texts]


def test_too_few_lines_tell_only_the_pace():
    paced = replace(LINE, acoustics=Acoustics(pace_wpm=160.0))
    assert read_traits([]) == LeadTraits()
    assert read_traits([paced, LINE]) == LeadTraits(pace=0.5)


def test_lines_about_nothing_tell_what_can_be_told_of_anybody():
    assert read_traits([LINE] * 3) == LeadTraits(motivation=0.0, scepticism=0.0, urgency=0.0)


def test_only_the_prospect_s_own_words_count():
    others = [replace(LINE, speaker="agent"), replace(LINE, speaker="closer")]
    assert read_traits([*others, replace(LINE, text="")] * 5) == LeadTraits()


def test_who_is_warm_or_asks_is_motivated():
    asks, warm = replace(LINE, questions=1), replace(LINE, sentiment=0.6)
    assert read_traits([asks, warm, LINE, LINE]).motivation == 0.5


def test_who_objects_to_us_is_sceptical():
    doubts = replace(LINE, objection=TRUST)
    busy = replace(LINE, objection=ObjectionType("time"))
    assert read_traits([doubts, busy, LINE, LINE]).scepticism == 0.5
    assert read_traits([doubts] * 4).scepticism == 1.0


def test_who_speaks_of_soon_is_in_a_hurry():
    assert read_traits(lines("I need it this week", "well", "so", "aha")).urgency == 0.75


@pytest.mark.parametrize(("wpm", "pace"), [(60.0, 0.0), (160.0, 0.5), (300.0, 1.0)])
def test_the_pace_lies_between_slow_and_fast(wpm, pace):
    assert read_traits([replace(LINE, acoustics=Acoustics(pace_wpm=wpm))]).pace == pace
    assert read_traits([replace(LINE, acoustics=Acoustics())]).pace is None


def test_formal_words_weigh_against_casual_ones():
    assert read_traits(lines("yes sir", "certainly please", "yeah", "well")).formality == 0.75


def test_how_somebody_speaks_of_technical_things_is_his_comfort_with_them():
    glad = replace(LINE, text="I use zoom a lot", sentiment=0.8)
    lost = replace(LINE, text="no laptop for me", objection=ObjectionType("experience"))
    assert read_traits([glad, LINE, LINE]).technical_comfort == 0.9
    assert read_traits([lost, LINE, LINE]).technical_comfort == 0.25
    assert read_traits([LINE] * 3).technical_comfort is None


@pytest.mark.parametrize(
    ("value", "name"), [(None, None), (0.0, "low"), (0.34, "mid"), (0.66, "mid"), (0.67, "high")]
)
def test_a_trait_has_three_levels(value, name):
    assert level(value) == name


words = "yes sir yeah laptop this week today we have a car not".split()


@given(
    st.lists(
        st.builds(
            lambda text, mood, asks, wpm, kind: replace(
                LINE,
                text=" ".join(text),
                sentiment=mood,
                questions=asks,
                objection=kind,
                acoustics=Acoustics(pace_wpm=wpm),
            ),
            st.lists(st.sampled_from(words), max_size=8),
            st.floats(-1, 1),
            st.integers(0, 3),
            st.none() | st.floats(1, 1000),
            st.sampled_from([None, TRUST, ObjectionType("experience")]),
        ),
        max_size=20,
    )
)
def test_every_trait_is_unknown_or_a_share_and_line_by_line_is_as_all_at_once(segments):
    heard = TraitsHeard()
    for segment in segments:
        heard.hear(segment)
    traits = heard.read()
    assert traits == read_traits(segments)
    for name in LeadTraits.__slots__:
        value = getattr(traits, name)
        assert value is None or 0.0 <= value <= 1.0
