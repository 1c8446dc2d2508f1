"""What holds for any sequence of events, plausible or not."""

import time
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.hints import Candidate, Evidence, Retrieved
from agent_sidecar.domain.playbook import Thresholds
from agent_sidecar.domain.record import Acoustics, CallRecord
from agent_sidecar.domain.types import HintId, Lead, Leg, LegId, Party, TransferId
from tests.domain.playbooks import PLAYBOOK, STARTED_AT, TEXTS, a_playbook, at, like, reader
from tests.domain.talk import COLD, CONFIGURATION, OPENED, WARM, Talk

THRESHOLDS = Thresholds(
    hint_confidence=0.2,
    hint_cool_down_s=5,
    hints_per_minute=3,
    transfer_engagement=60,
    transfer_release=50,
    transfer_segments=1,
    transfer_cool_down_s=10,
)
# every phase allows the transfer, so that there are many
KEEN = a_playbook(
    thresholds=THRESHOLDS,
    phases=tuple(replace(phase, allows_transfer=True) for phase in PLAYBOOK.phases),
)
READER = reader(KEEN)
times = st.floats(-5, 300).map(lambda seconds: at(round(seconds, 2)))
parties = st.sampled_from(["prospect", "prospect", "agent", "closer"])
line_ids = st.integers(0, 12).map(lambda number: f"l{number}")
legs = st.sampled_from([("p", "prospect"), ("a", "agent"), ("k", "closer")]).map(
    lambda leg: Leg(leg_id=LegId(leg[0]), party=leg[1])  # type: ignore[arg-type]
)
words = st.sampled_from(
    [WARM, COLD, "too expensive", "do not call me", "yes", "how much is it?", "call me later", "…"]
)
vectors = st.none() | st.sampled_from(TEXTS).map(lambda text: like(text, 0.9).tobytes())
strategies = st.sampled_from([strategy.name for strategy in KEEN.strategies])
small = st.none() | st.floats(-10, 10)

events = st.one_of(
    st.builds(
        ev.LineHeard,
        line_id=line_ids,
        at=times,
        party=parties,
        text=words,
        is_final=st.booleans() | st.just(True),
        confidence=st.none(),
    ),
    st.builds(ev.LineEmbedded, line_id=line_ids, vector=vectors),
    st.builds(
        lambda party, start, length, sound: ev.SpeechHeard(
            party=party, start_s=start, end_s=start + length, acoustics=sound
        ),
        parties,
        st.floats(0, 300),
        st.floats(0.1, 15),
        st.builds(
            Acoustics,
            tonal_shift_st=small,
            pause_s=st.none() | st.floats(0, 10),
            response_latency_s=st.none() | st.floats(0, 10),
            overtalk_s=st.floats(0, 3),
            talk_s=st.floats(0, 10),
        ),
    ),
    st.builds(
        lambda number, when, names, tried: ev.HintsRetrieved(
            question_id=f"c1:q{number}",
            at=when,
            retrieved=Retrieved(
                candidates=tuple(
                    Candidate(strategy=name, closeness=0.8, origin="playbook") for name in names
                ),
                evidence=tuple(
                    Evidence(strategy=name, scope="phase:1", tried=tried, lifted=tried, won=0)
                    for name in names
                ),
            ),
            latency_ms=10.0,
        ),
        st.integers(1, 6),
        times,
        st.lists(strategies, max_size=4),
        st.integers(0, 50),
    ),
    st.builds(
        ev.HintJudged,
        hint_id=st.integers(1, 4).map(lambda number: HintId(f"c1:h{number}")),
        at=times,
        action=st.sampled_from(["used", "dismissed"]),
    ),
    st.builds(
        ev.TransferWanted, at=times, by=st.just("Ann"), veto=st.sampled_from([False] * 4 + [True])
    ),
    st.builds(
        ev.TransferProgressed,
        transfer_id=st.integers(1, 4).map(lambda number: TransferId(f"c1:t{number}")),
        at=times,
        step=st.sampled_from(
            ["leased", "dialing", "answered", "accepted", "bridged", "ended", "ended"]
        ),
        closer=st.sampled_from(["Kevin", ""]),
        leg_id=st.sampled_from([None, LegId("k")]),
        outcome=st.sampled_from(["unavailable", "declined", "failed", "bridged", None]),
    ),
    st.builds(ev.LegJoined, at=times, leg=legs, answered=st.booleans()),
    st.builds(ev.LegLeft, at=times, leg_id=legs.map(lambda leg: leg.leg_id)),
    st.builds(ev.CloserChecked, at=times, closer=st.just("Kevin"), available=st.booleans()),
    st.builds(ev.LeadKnown, at=times, lead=st.just(Lead(lead_id="1", timezone="Europe/Rome"))),
    st.builds(ev.MachineAnswered, at=times),
    st.builds(ev.OutcomePosted, at=times, final_status=st.sampled_from(["follow_up", "unknown"])),
    st.builds(ev.CallClosed, at=times) | st.builds(ev.MachineAnswered, at=times),
)
histories = st.lists(events, max_size=60)


def play(history: Sequence[ev.CallEvent]) -> tuple[Call, list[ev.Effect], CallRecord]:
    """Play a history to its end."""
    call = Call(OPENED, READER)
    effects = [effect for event in history for effect in call.receive(event)]
    effects += call.receive(ev.CallClosed(at=at(400)))
    return call, effects, call.record(CONFIGURATION)


@settings(max_examples=100)
@given(histories)
def test_whatever_happens_the_call_has_a_record_and_a_replay_has_the_same(history):
    call, effects, record = play(history)
    again, effects_again, record_again = play(history)
    assert record == record_again
    assert [type(effect) for effect in effects] == [type(effect) for effect in effects_again]
    assert call.unfinished() == again.unfinished()
    assert record.started_at == STARTED_AT <= record.ended_at
    assert [segment.index for segment in record.segments] == list(range(len(record.segments)))


@settings(max_examples=100)
@given(histories)
def test_engagement_is_a_percentage_and_only_the_prospect_s_lines_have_one(history):
    _, _, record = play(history)
    for segment in record.segments:
        assert (segment.engagement is not None) == (segment.speaker == "prospect")
        for score in (segment.engagement, segment.call_engagement):
            assert score is None or 0.0 <= score <= 100.0
        if segment.speaker == "closer":
            assert (segment.strategy, segment.objection, segment.sentiment) == (None, None, 0.0)
    prospect = [s for s in record.segments if s.speaker == "prospect"]
    assert record.progression == tuple(s.call_engagement for s in prospect)
    assert all(record.segments[c.segment].speaker == "agent" for c in record.credits)


@settings(max_examples=100)
@given(histories)
def test_at_most_one_transfer_runs_and_each_has_one_outcome(history):
    call = Call(OPENED, READER)
    running: set[TransferId] = set()
    for event in [*history, ev.CallClosed(at=at(400))]:
        for effect in call.receive(event):
            if isinstance(effect, ev.StartTransfer):
                assert not running
                assert call.log.hung_up_at is None
                assert not call.log.bridged
                running.add(effect.transfer_id)
            elif isinstance(effect, ev.PublishTransfer) and effect.progress.step == "ended":
                running.remove(effect.progress.transfer_id)
            elif isinstance(effect, ev.CancelTransfer):
                assert running == {effect.transfer_id}
    for attempt in call.record(CONFIGURATION).transfers:
        assert attempt.outcome != "unknown" or attempt.transfer_id not in running or attempt.reason
        assert (attempt.bridged_at is not None) <= (attempt.completed_at is not None)
        assert (attempt.duration_s or 0.0) >= 0.0


@settings(max_examples=100)
@given(histories)
def test_hints_never_exceed_the_cap_nor_repeat_what_was_heard(history):
    call = Call(OPENED, READER)
    shown: list[ev.PublishHint] = []
    for event in history:
        heard = {s.strategy for s in call.log.segments}
        second_best = isinstance(event, ev.TransferProgressed)
        for effect in call.receive(event):
            if isinstance(effect, ev.PublishHint):
                given_s = effect.hint.given_at
                assert effect.hint.strategy not in heard | {e.hint.strategy for e in shown}
                if shown and not second_best:
                    passed = given_s - shown[-1].hint.given_at
                    assert passed.total_seconds() >= THRESHOLDS.hint_cool_down_s
                shown.append(effect)
    for first in shown:
        since = [e.hint.given_at - first.hint.given_at for e in shown]
        in_a_minute = sum(0.0 <= passed.total_seconds() < 60.0 for passed in since)
        assert in_a_minute <= THRESHOLDS.hints_per_minute


def test_a_call_of_two_hours_costs_as_much_at_its_end_as_at_its_beginning():
    talk = Talk(KEEN)
    first_s = last_s = 0.0
    for number in range(2000):
        party: Party = "prospect" if number % 2 else "agent"
        began = time.perf_counter()
        talk.speech(party, 3.6 * number, 3.6 * number + 2.0, tonal_shift_st=0.1)
        talk.say(party, f"{TEXTS[number % 40 % len(TEXTS)]} number {number}?", 3.6 * number + 2.2)
        took_s = time.perf_counter() - began
        first_s += took_s if number < 500 else 0.0
        last_s += took_s if number >= 1500 else 0.0
    began = time.perf_counter()
    record = talk.close(7300.0)
    assert time.perf_counter() - began < 2.0
    assert len(record.segments) == 2000
    assert last_s < 3.0 * first_s + 0.1
