from dataclasses import replace
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
    LineJoiner,
    Utterance,
)
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Party
from agent_sidecar.domain.voices import WORDS_PER_S
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
        inner_pause_s=1.0,
        volume_dbfs=-22.0,
        response_latency_s=0.5,
        overtalk_s=0.3,
        talk_s=3.0,
    )


def test_a_line_has_the_means_and_sums_of_its_stretches():
    joiner = LineJoiner(STARTED_AT)
    first = speech(2.0, 4.0, inner_pause_s=0.3, interruptions=1, pace_syl_s=4.0, pace_shift=0.0)
    second = speech(4.7, 5.7, pause_s=0.7, interruptions=1, pace_syl_s=5.5, pace_shift=0.3)
    joiner.hear_speech(replace(first, acoustics=replace(first.acoustics, volume_shift_db=2.0)))
    joiner.hear_speech(
        replace(second, acoustics=replace(second.acoustics, volume_shift_db=-1.0, talk_ratio=0.5))
    )
    (one,) = said(joiner, line("and so on", 6.0))
    assert one.acoustics == Acoustics(
        pace_wpm=60.0,
        pace_syl_s=4.5,
        pace_shift=0.1,
        pause_s=0.7,
        inner_pause_s=1.0,
        volume_shift_db=1.0,
        interruptions=2,
        talk_ratio=0.5,
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


# --- the same words by two ways -------------------------------------------------------------------


def test_words_that_come_by_two_ways_are_one_line():
    joiner = LineJoiner(STARTED_AT)
    own = line("so let me show you how it works", 10.0, party="agent")
    assert joiner.hear(own)
    through = replace(line("let me show how it works", 10.8, party="agent"), source="other_leg")
    assert not joiner.hear(through)
    told = replace(line("So, let me show you how it works!", 9.5, party="agent"), source="told")
    assert not joiner.hear(told)
    # other words, another time, or another voice
    assert joiner.hear(replace(line("what do you think", 11.0, party="agent"), source="other_leg"))
    assert joiner.hear(replace(told, line_id="later", at=at(20)))
    assert joiner.hear(replace(told, line_id="echo", party="prospect"))


def test_every_line_of_a_recorded_call_was_said():
    joiner = LineJoiner(STARTED_AT)
    once = replace(line("how does it really work", 1.0), source="recorded")
    assert joiner.hear(once)
    assert joiner.hear(replace(once, line_id="again"))


def test_nearly_the_same_words_by_one_way_are_two_lines():
    joiner = LineJoiner(STARTED_AT)
    assert joiner.hear(line("that is too much money for me", 1.0))
    assert joiner.hear(line("that is too much money for us", 3.0))


def test_a_final_that_repeats_an_earlier_one_is_known_whatever_came_between():
    joiner = LineJoiner(STARTED_AT)
    assert joiner.hear(line("how does it really work", 10.0))
    # told late: it was said long before
    assert joiner.hear(line("is that so", 2.0))
    assert joiner.hear(line("tell me more about it", 11.0))
    assert not joiner.hear(line("how does it really work", 12.0))


@given(histories(), st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=6))
def test_what_is_delivered_again_changes_nothing(history, again):
    heard, _ = history
    once = [event for event in heard if isinstance(event, LineHeard)]
    more = list(once)
    for place, under_its_own_id in again:
        line_again = once[place % len(once)]
        if not under_its_own_id:
            # a recogniser that repeats itself gives its line another id, at once
            line_again = replace(line_again, line_id=f"{line_again.line_id}+{len(more)}")
        more.insert(more.index(once[place % len(once)]) + 1, line_again)
    assert _understood(more) == _understood(once)


def _understood(lines: list[LineHeard]) -> list[tuple[str, str]]:
    joiner = LineJoiner(STARTED_AT)
    for one in lines:
        joiner.hear(one)
    return [(u.party, u.text) for u in joiner.ready(now_s=0.0, everything=True)]


@given(st.lists(st.text(max_size=20), max_size=8), st.floats(-100, 1e6))
def test_no_line_is_too_strange_to_be_joined(texts, at_s):
    joiner = LineJoiner(STARTED_AT)
    taken = [text for n, text in enumerate(texts) if joiner.hear(line(text, at_s, line_id=f"{n}"))]
    told = list(joiner.ready(now_s=at_s, everything=True))
    assert [one.text for one in told] == [text.strip() for text in taken]
    assert all(0.0 <= one.start_s <= one.end_s for one in told)
