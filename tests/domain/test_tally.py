from dataclasses import replace
from datetime import UTC, datetime
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.record import CallRecord, Outcome, Pattern
from agent_sidecar.domain.tally import (
    HINTS,
    TRIGGERS_KEPT,
    TRIGGERS_SHOWN,
    Answers,
    Count,
    added,
    contexts,
    counts,
    days,
    deltas,
    kinds,
    objection_figures,
    pattern_figures,
    read_tally,
    scope,
    strategy_figures,
    transfer_correlation,
    write_tally,
)
from tests.builders import PRICE, REFRAME, rich_record, stranger_record


def amounts(record: CallRecord) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {(count.counter, *count.key): count.amounts for count in counts(record)}


def trigger(text: str, times: int) -> Count:
    return Count(counter="objection", key=(PRICE, f"trigger:{text}"), amounts=(times,))


def test_a_lead_belongs_to_every_prefix_of_his_kind():
    assert kinds(()) == ("",)
    assert kinds((("a", "1"), ("b", "2"))) == ("", "a=1", "a=1|b=2")


def test_a_kind_stays_bounded_and_cannot_be_mistaken_for_another():
    assert len(kinds([(str(n), "x") for n in range(9)])) == 5
    assert kinds((("a", "1|b=2"),)) == ("", "a=1/b:2")
    assert len(kinds((("a", "x" * 999),))[1]) < 60


def test_a_scope_names_the_moment_and_then_the_kind():
    assert contexts(5, None) == ("phase:5",)
    assert contexts(5, PRICE) == ("phase:5", "objection:price")
    assert scope("phase:5", "") == "phase:5"
    assert scope("objection:price", "a=1|b=2") == "objection:price|a=1|b=2"


def test_a_move_counts_for_its_phase_and_objection_and_for_every_kind():
    found = amounts(rich_record())
    answered = {key[1:] for key in found if key[0] == "answered"}
    assert answered == {
        (context, kind, REFRAME)
        for context in ("phase:5", "objection:price")
        for kind in (
            "",
            "experience_level=beginner",
            "experience_level=beginner|motivation=high",
        )
    }
    assert found["answered", "phase:5", "", REFRAME] == (1, 1, 0, 1, 1)
    assert found["strategy", REFRAME, "all"] == (1, 1, 1, 1)
    assert found["strategy", REFRAME, "phase:5"] == (1, 1)
    assert found["objection", PRICE, "all"] == (1, 1)
    assert found["objection", PRICE, f"response:{REFRAME}"] == (1,)
    assert found["objection", PRICE, "trigger:too expensive"] == (1,)
    assert found["pattern", "objection:price>reframe_price_as_investment>rise", "all"] == (1, 7500)
    assert found["calls", "all", "all"] == (1, 1)


def test_no_reaction_is_a_try_and_no_lift():
    silent = replace(rich_record().credits[0], lifted=None, objection=None)
    unknown = Outcome(final_status="unknown", result="callback", qualified=None)
    found = amounts(rich_record(credits=(silent, silent), outcome=unknown, transfers=()))
    assert found["answered", "phase:5", "", REFRAME] == (2, 0, 0, 0, 2)
    assert found["strategy", REFRAME, "all"] == (1, 0, 2, 0)
    assert not any(key[1].startswith("objection:") for key in found if key[0] == "answered")


def test_an_objection_that_stayed_open_has_no_response_and_no_words_have_no_trigger():
    met = rich_record().objections[0]
    records = (replace(met, resolved=False), replace(met, strategy=None), replace(met, trigger=" "))
    found = amounts(rich_record(objections=records))
    assert found["objection", PRICE, "all"] == (3, 2)
    assert found["objection", PRICE, f"response:{REFRAME}"] == (1,)
    assert found["objection", PRICE, "trigger:too expensive"] == (2,)


def test_only_live_and_imported_calls_that_were_answered_count():
    assert counts(rich_record(source="replay")) == ()
    assert counts(rich_record(source="demo")) == ()
    assert counts(stranger_record()) == ()
    assert counts(rich_record(source="import")) == counts(rich_record())


def test_a_nameless_pattern_is_not_counted():
    found = amounts(rich_record(patterns=(Pattern(id="", type="t", effectiveness=1.0),)))
    assert not any(key[0] == "pattern" for key in found)


def test_the_same_contribution_again_changes_nothing():
    now = counts(rich_record())
    assert deltas(now, now) == ()
    assert deltas((), now) == now
    back = deltas(now, ())
    assert [tuple(-n for n in count.amounts) for count in back] == [c.amounts for c in now]


def test_a_correction_adds_the_difference():
    lost = Outcome(final_status="disqualified", result="not_qualified", qualified=False)
    changes = deltas(counts(rich_record()), counts(rich_record(outcome=lost, transfers=())))
    changed = {(c.counter, *c.key): c.amounts for c in changes}
    assert changed["answered", "phase:5", "", REFRAME] == (0, 0, 0, -1, 0)
    assert changed["calls", "all", "all"] == (0, -1)
    assert ("objection", PRICE, "all") not in changed


def test_a_tally_grows_shrinks_and_is_written_in_one_spelling():
    changes = [
        Count(counter="strategy", key=(REFRAME, "all"), amounts=(1, 0, 2, 1)),
        Count(counter="strategy", key=(REFRAME, "phase:5"), amounts=(2, 1)),
    ]
    tally = added(read_tally(None), changes)
    assert read_tally(write_tally(tally)) == tally
    taken_back = added(tally, [replace(c, amounts=tuple(-n for n in c.amounts)) for c in changes])
    assert taken_back == {"all": (0, 0, 0, 0)}


def test_rare_triggers_are_forgotten_before_common_ones():
    tally = added({}, [trigger("common", 3), *(trigger(f"{n:04}", 1) for n in range(999))])
    assert len(tally) == TRIGGERS_KEPT
    assert tally["trigger:common"] == (3,)
    assert "trigger:0998" not in tally
    # taking back one that was forgotten leaves no trace
    assert added(tally, [trigger("0998", -1)]) == tally


def test_figures_of_a_strategy():
    tally = {"all": (3, 1, 4, 3), "phase:5": (4, 3), "objection:price": (3, 1)}
    figures = strategy_figures(tally)
    assert figures["success_rate"] == 0.75
    assert figures["context_effectiveness"] == ["objection:price: 0.33 (3)", "phase:5: 0.75 (4)"]
    assert strategy_figures({})["success_rate"] is None


def test_figures_of_an_objection():
    tally = {
        "all": (9, 4),
        "response:b": (3,),
        "response:a": (3,),
        "response:c": (7,),
        **{f"trigger:t{n:02}": (n + 1,) for n in range(12)},
    }
    figures = objection_figures(tally)
    assert (figures["frequency"], figures["resolved"]) == (9, 4)
    assert figures["successful_responses"] == ["c", "a", "b"]
    assert isinstance(figures["context_triggers"], list)
    assert len(figures["context_triggers"]) == TRIGGERS_SHOWN
    assert figures["context_triggers"][0] == "t11"
    assert objection_figures({})["frequency"] == 0


def test_figures_of_a_pattern():
    assert pattern_figures({"all": (2, 15000)}) == {"calls": 2, "effectiveness": 7.5}
    assert pattern_figures({}) == {"calls": 0, "effectiveness": None}


def test_correlation_goes_from_never_to_always():
    def phi(used: int, both: int) -> float | None:
        return transfer_correlation(calls=10, transferred=5, used=used, used_and_transferred=both)

    assert phi(5, 5) == pytest.approx(1.0)
    assert phi(5, 0) == pytest.approx(-1.0)
    assert phi(4, 2) == pytest.approx(0.0)
    assert phi(4, 3) == pytest.approx((3 * 4 - 1 * 2) / sqrt(4 * 6 * 5 * 5))
    assert phi(10, 5) is None


class TestRecency:
    def test_a_try_counts_half_after_each_half_life(self):
        answers = Answers().plus((1, 1, 0, 1, 0), 100.0)
        assert answers.recent(100.0) == ((1.0, 1.0),) * 3
        long, usual, short = answers.recent(104.0)
        assert [*usual] == pytest.approx([0.5, 0.5])
        assert [*long] == pytest.approx([2**-0.125] * 2)
        assert [*short] == pytest.approx([2**-8] * 2)

    def test_what_is_asked_of_before_it_was_has_not_faded(self):
        assert Answers().plus((1, 0, 1, 0, 0), 100.0).recent(90.0) == ((1.0, 0.0),) * 3

    def test_a_call_without_a_time_counts_and_has_faded(self):
        answers = Answers().plus((1, 1, 0, 1), None)
        assert (answers.tried, answers.lifted, answers.won, answers.hinted) == (1, 1, 1, 0)
        assert answers.recent(0.0) == ((0.0, 0.0),) * 3

    @given(st.lists(st.tuples(st.booleans(), st.floats(20_000, 20_040)), min_size=1, max_size=8))
    def test_any_order_makes_the_same_and_what_is_taken_out_was_never_there(self, calls):
        def amounts(lifted: bool) -> tuple[int, ...]:
            return (1, int(lifted), int(not lifted), 0, 0)

        there = back = Answers()
        for lifted, at in calls:
            there = there.plus(amounts(lifted), at)
        for lifted, at in reversed(calls):
            back = back.plus(amounts(lifted), at)
        more = there.plus(amounts(True), 20_050.0).plus(amounts(True), 20_050.0, times=-1)
        for other in (back, more):
            assert (other.tried, other.lifted, other.sunk) == (
                there.tried,
                there.lifted,
                there.sunk,
            )
            for one, two in zip(other.recent(20_060.0), there.recent(20_060.0), strict=True):
                assert [*one] == pytest.approx([*two], rel=1e-6, abs=1e-9)


def test_days_are_counted_from_1970_in_any_zone():
    assert days(datetime(1970, 1, 2, 12, tzinfo=UTC)) == 1.5


def test_hints_count_used_or_not():
    (one,) = rich_record().hints
    shown, used, dismissed = (
        replace(one, status=status) for status in ("shown", "used", "dismissed")
    )
    found = {c.key: c.amounts for c in counts(rich_record(hints=(shown, used, dismissed)))}
    assert found[shown.hint.strategy, HINTS] == (3, 1, 1)
    tally = added({}, [Count(counter="strategy", key=("s", HINTS), amounts=(3, 1, 1))])
    figures = strategy_figures(tally)
    assert [figures[name] for name in ("hinted", "hints_used", "hints_dismissed")] == [3, 1, 1]
    assert figures["context_effectiveness"] == []
