from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.events import LineEmbedded, LineHeard, SpeechHeard
from agent_sidecar.domain.lines import (
    CLAIM_S,
    FASTEST_WPM,
    LINE_GRACE_S,
    REPEAT_S,
    WORDS_PER_S,
    LineJoiner,
    Utterance,
)
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Party
from tests.domain.playbooks import STARTED_AT, at


def line(
    text: str, at_s: float, *, party: Party = "prospect", line_id: str | None = None
) -> LineHeard:
    return LineHeard(
        line_id=line_id or f"{party}@{at_s}", at=at(at_s), party=party, text=text, is_final=True
    )


def speech(
    start_s: float, end_s: float, *, party: Party = "prospect", **sound: float | None
) -> SpeechHeard:
    acoustics = Acoustics(**{"talk_s": end_s - start_s, **sound})  # type: ignore[arg-type]
    return SpeechHeard(party=party, start_s=start_s, end_s=end_s, acoustics=acoustics)


def said(joiner: LineJoiner, heard: LineHeard, *, now_s: float = 0.0) -> list[Utterance]:
    """Hear a line and its vector; return what is ready."""
    joiner.hear(heard)
    joiner.embed(LineEmbedded(line_id=heard.line_id, vector=None))
    return list(joiner.ready(now_s=now_s))


def texts(utterances: list[Utterance]) -> list[str]:
    return [utterance.text for utterance in utterances]


def test_a_line_waits_for_its_vector_and_later_lines_wait_with_it():
    joiner = LineJoiner(STARTED_AT)
    first, second = line("one", 1.0), line("two", 2.0)
    assert joiner.hear(first)
    assert joiner.hear(second)
    joiner.embed(LineEmbedded(line_id=second.line_id, vector=b"2222"))
    assert list(joiner.ready(now_s=9.0)) == []
    assert list(joiner.unembedded()) == [first]
    joiner.embed(LineEmbedded(line_id=first.line_id, vector=None))
    assert [(u.text, u.vector) for u in joiner.ready(now_s=9.0)] == [
        ("one", None),
        ("two", b"2222"),
    ]
    assert list(joiner.unembedded()) == []


def test_at_the_end_of_the_call_nothing_waits():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear(line("one", 1.0))
    joiner.hear_speech(speech(8.0, 9.0))
    assert texts(list(joiner.ready(now_s=9.0, everything=True))) == ["one", ""]


@pytest.mark.parametrize(
    ("first", "second", "apart_s", "repeats"),
    [
        ("We never did that.", "we never did THAT", REPEAT_S, True),
        ("We never did that.", "we never did that", REPEAT_S + 0.1, False),
        ("We never did that.", "we did that", 0.1, False),
        ("Yes.", "yes", 0.5, True),
        ("Yes.", "Yes.", 2.0, False),
        ("да, конечно да ещё", "да, конечно да ещё", 2.0, True),
        ("да", "нет", 0.1, False),
        ("?", "!", 0.1, False),
    ],
)
def test_a_line_that_only_repeats_the_last_one_is_dropped(first, second, apart_s, repeats):
    joiner = LineJoiner(STARTED_AT)
    assert joiner.hear(line(first, 10.0))
    assert joiner.hear(line(second, 10.0 + apart_s)) is not repeats


def test_the_same_line_delivered_again_is_dropped_and_another_party_may_say_the_same():
    joiner = LineJoiner(STARTED_AT)
    assert joiner.hear(line("we never did that", 1.0, line_id="x"))
    assert not joiner.hear(line("quite another text", 60.0, line_id="x"))
    assert joiner.hear(line("we never did that", 1.0, party="agent"))


def test_a_line_without_words_is_none_but_any_script_has_words():
    joiner = LineJoiner(STARTED_AT)
    assert not joiner.hear(line("  \n", 1.0))
    assert joiner.hear(line("ありがとう", 2.0))


def test_a_line_takes_the_sound_of_its_party_s_speech():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(
        speech(2.0, 4.0, response_latency_s=0.5, pause_s=0.5, overtalk_s=0.2, volume_dbfs=-20.0)
    )
    joiner.hear_speech(
        speech(5.0, 6.0, pause_s=1.0, overtalk_s=0.1, volume_dbfs=-26.0, tonal_shift_st=3.0)
    )
    joiner.hear_speech(speech(1.0, 6.0, party="agent"))
    (one,) = said(joiner, line(" six words of any old kind ", 6.5))
    assert (one.text, one.start_s, one.end_s) == ("six words of any old kind", 2.0, 6.5)
    assert one.acoustics == Acoustics(
        tonal_shift_st=3.0,
        pace_wpm=120.0,
        pause_s=1.5,
        volume_dbfs=-22.0,
        response_latency_s=0.5,
        overtalk_s=0.3,
        talk_s=3.0,
    )


def test_what_was_never_measured_stays_unknown():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(speech(2.0, 4.0, talk_s=0.0))
    (one,) = said(joiner, line("yes", 4.0))
    assert one.acoustics == Acoustics(pause_s=None, pace_wpm=None)


def test_words_that_cannot_all_be_in_the_speech_have_no_pace():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(speech(2.0, 2.0 + 60 * 8 / FASTEST_WPM - 0.05))
    (one,) = said(joiner, line("far more words than fit in so little", 4.0))
    assert one.acoustics is not None
    assert one.acoustics.pace_wpm is None


def test_a_line_without_speech_is_as_long_as_its_words():
    (one,) = said(LineJoiner(STARTED_AT), line("three more words", 10.0))
    assert (one.start_s, one.end_s) == (round(10.0 - 3 / WORDS_PER_S, 3), 10.0)
    (early,) = said(LineJoiner(STARTED_AT), line("said before the call began", -5.0))
    assert (early.start_s, early.end_s) == (0.0, 0.0)


def test_speech_that_begins_after_a_line_is_kept_for_the_next_one():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(speech(2.0, 4.0))
    joiner.hear_speech(speech(8.0, 9.0))
    (first,) = said(joiner, line("one", 4.2))
    (second,) = said(joiner, line("two", 9.2))
    assert first.acoustics is not None
    assert second.acoustics is not None
    assert (first.acoustics.talk_s, second.acoustics.talk_s) == (2.0, 1.0)


def test_speech_that_a_line_has_told_already_is_not_told_twice():
    joiner = LineJoiner(STARTED_AT)
    (one,) = said(joiner, line("words come first", 4.0))
    assert one.acoustics is None
    joiner.hear_speech(speech(2.0, 4.0 + CLAIM_S))
    assert list(joiner.ready(now_s=60.0)) == []
    joiner.hear_speech(speech(2.0, 4.1 + CLAIM_S))
    joiner.hear_speech(speech(4.1, 4.2))
    assert len(list(joiner.ready(now_s=60.0))) == 2


def test_speech_without_a_line_becomes_a_segment_after_the_grace_in_its_order():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(speech(2.0, 4.0, volume_dbfs=-20.0))
    joiner.hear_speech(speech(1.0, 3.0, party="agent"))
    assert list(joiner.ready(now_s=3.0 + LINE_GRACE_S - 0.1)) == []
    first, second = joiner.ready(now_s=4.0 + LINE_GRACE_S)
    assert (first.party, second.party) == ("agent", "prospect")
    assert (second.text, second.at, second.word_count) == ("", at(4.0), 0)
    assert second.acoustics == Acoustics(volume_dbfs=-20.0, talk_s=2.0)
    assert list(joiner.ready(now_s=99.0)) == []


def test_speech_waits_while_a_line_that_may_claim_it_waits():
    joiner = LineJoiner(STARTED_AT)
    joiner.hear_speech(speech(2.0, 4.0))
    joiner.hear(line("well", 4.5))
    assert list(joiner.ready(now_s=99.0)) == []


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[LineHeard | SpeechHeard], list[int]]:
    """Draw what is heard in its order, and for each line how much later its vector comes."""
    heard: list[LineHeard | SpeechHeard] = []
    at_s = 0.0
    for number in range(draw(st.integers(1, 12))):
        at_s += draw(st.floats(0.1, 8.0))
        party: Party = draw(st.sampled_from(["prospect", "agent"]))
        if draw(st.booleans()):
            heard.append(speech(at_s, at_s + 0.5, party=party))
        words = draw(st.sampled_from(["yes", "well I never", "a longer line of words"]))
        heard.append(line(words, at_s + 0.6, party=party, line_id=f"l{number}"))
    return heard, draw(st.lists(st.integers(0, 6), min_size=12, max_size=12))


@given(histories())
def test_whenever_the_vectors_come_the_lines_are_understood_in_the_order_heard(history):
    heard, delays = history
    joiner = LineJoiner(STARTED_AT)
    taken: list[str] = []
    due: list[tuple[int, str]] = []
    out: list[Utterance] = []
    for now, event in enumerate(heard):
        if isinstance(event, SpeechHeard):
            joiner.hear_speech(event)
        elif joiner.hear(event):
            taken.append(event.line_id)
            due.append((now + delays[len(taken) - 1], event.line_id))
        for when, line_id in sorted(due):
            if when <= now:
                joiner.embed(LineEmbedded(line_id=line_id, vector=line_id.encode()))
        out += joiner.ready(now_s=0.0)
    for _, line_id in sorted(due):
        joiner.embed(LineEmbedded(line_id=line_id, vector=line_id.encode()))
    out += joiner.ready(now_s=0.0)
    assert [one.vector for one in out] == [line_id.encode() for line_id in taken]
    speeches = [event for event in heard if isinstance(event, SpeechHeard)]
    talked_s = sum(one.acoustics.talk_s for one in out if one.acoustics)
    talked_s += sum(
        one.acoustics.talk_s for one in joiner.ready(now_s=0.0, everything=True) if one.acoustics
    )
    assert talked_s <= sum(one.acoustics.talk_s for one in speeches) + 0.01
    for one, other in pairwise(out):
        assert one.at <= other.at
