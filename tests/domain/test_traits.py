from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.playbook import Objection
from agent_sidecar.domain.record import Acoustics, LeadTraits, TranscriptSegment
from agent_sidecar.domain.traits import TraitsHeard, level, shown_by
from agent_sidecar.domain.types import ObjectionType
from tests.domain.playbooks import STARTED_AT, TRUST

CLUMSY, BUSY = ObjectionType("all thumbs"), ObjectionType("time")
SHOWS = shown_by(
    [
        Objection(type=TRUST, wordings=("x",)),
        Objection(type=BUSY, wordings=("x",)),
        Objection(type=CLUMSY, wordings=("x",), shows="discomfort"),
    ]
)
LINE = TranscriptSegment(
    index=0, speaker="prospect", text="we have a car", at=STARTED_AT, start_s=0, end_s=1
)
ASKS, WARM = replace(LINE, questions=1), replace(LINE, sentiment=0.6)
COLD, DOUBTS = replace(LINE, sentiment=-0.6), replace(LINE, objection=TRUST)


def lines(*texts: str) -> list[TranscriptSegment]:
    return [replace(LINE, text=text) for text in texts]


def read(segments: list[TranscriptSegment]) -> LeadTraits:
    heard = TraitsHeard(SHOWS)
    for segment in segments:
        heard.hear(segment)
    return heard.read()


def test_a_playbook_says_what_its_objections_show_and_else_a_known_name_does():
    assert SHOWS == {TRUST: "scepticism", CLUMSY: "discomfort"}
    friendly = Objection(type=TRUST, wordings=("x",), shows="discomfort")
    assert shown_by([friendly]) == {TRUST: "discomfort"}


def test_nobody_s_lines_tell_nothing_and_neither_do_few():
    assert read([]) == LeadTraits()
    assert read([ASKS, DOUBTS]) == LeadTraits()


def test_lines_about_nothing_tell_only_that_he_did_not_doubt():
    assert read([LINE] * 9) == LeadTraits(scepticism=0.0)


def test_only_the_prospect_s_own_words_count():
    others = [replace(LINE, speaker="agent"), replace(LINE, speaker="closer")]
    assert read([*others, replace(LINE, text="")] * 9) == LeadTraits()


@pytest.mark.parametrize(
    ("said", "motivation"),
    [
        ([ASKS, WARM, COLD], 0.6),
        ([ASKS, WARM, WARM], 0.8),
        ([COLD, COLD, DOUBTS], 0.2),
        ([ASKS, WARM, replace(WARM, objection=BUSY)], 0.6),
        ([WARM] * 18, 0.95),
    ],
)
def test_who_is_warm_or_asks_is_motivated_and_who_objects_is_not(said, motivation):
    assert read([*said, LINE, LINE]).motivation == motivation


@pytest.mark.parametrize(
    ("said", "scepticism"),
    [
        ([DOUBTS, LINE, LINE], 0.4),
        ([DOUBTS] * 4, 1.0),
        ([replace(LINE, objection=BUSY)] * 4, 0.0),
        (lines("I find that hard to believe", "well", "well", "well"), 0.333),
    ],
)
def test_who_doubts_us_is_sceptical(said, scepticism):
    assert read(said).scepticism == scepticism


@pytest.mark.parametrize(
    ("said", "urgency"),
    [
        (["I need it this week"], None),
        (["I need it this week", "how soon does it pay"], 0.75),
        (["no rush", "maybe some day"], 0.25),
        (["right away", "or another time"], 0.5),
    ],
)
def test_who_speaks_of_soon_is_in_a_hurry(said, urgency):
    assert read(lines(*said)).urgency == urgency


@pytest.mark.parametrize(("wpm", "pace"), [(60.0, 0.0), (160.0, 0.5), (300.0, 1.0)])
def test_the_pace_lies_between_slow_and_fast(wpm, pace):
    paced = replace(LINE, text="five words of his own", acoustics=Acoustics(pace_wpm=wpm))
    assert read([paced] * 4).pace == pace
    assert read([paced] * 3).pace is None
    assert read([replace(paced, acoustics=Acoustics())] * 4).pace is None


def test_formal_words_weigh_against_casual_ones():
    assert read(lines("yes sir", "certainly please", "yeah", "well")).formality == 0.667
    assert read(lines("yes sir", "yeah")).formality is None


def test_how_somebody_speaks_of_technical_things_is_his_comfort_with_them():
    glad = replace(LINE, text="I use zoom a lot", sentiment=0.9)
    clumsy = replace(LINE, objection=CLUMSY)
    assert read([glad, glad]).technical_comfort == 0.8
    assert read([clumsy, clumsy]).technical_comfort == 0.167
    assert read([glad]).technical_comfort is None


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
            st.sampled_from([None, TRUST, CLUMSY]),
        ),
        max_size=20,
    )
)
def test_every_trait_is_unknown_or_a_share_and_one_line_alone_tells_none(segments):
    traits = read(segments)
    for name in LeadTraits.__slots__:
        value = getattr(traits, name)
        assert value is None or 0.0 <= value <= 1.0
    # but of a line of twenty words its pace is known
    assert read(segments[:1]) == LeadTraits()
