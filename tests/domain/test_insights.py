from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.insights import (
    ENOUGH_CALLS,
    ENOUGH_REACTIONS,
    MOMENTS,
    AvailabilityEffect,
    CallGroup,
    GraphAnswer,
    InsightRequest,
    Moment,
    ObjectionFigures,
    PatternFigures,
    Profile,
    Rates,
    availability_effect,
    closest_moments,
    profile_of,
    relationships,
    success_patterns,
)
from agent_sidecar.domain.types import CallId, Lead, ObjectionType, StrategyName
from tests.domain.playbooks import MONEY, REFRAME, STORY, TRUST, a_playbook

BEGINNER = ("experience_level", "beginner")
LOW = ("current_income_range", "low")


def a_profile(*kind: tuple[str, str], objection: ObjectionType | None = None) -> Profile:
    return Profile(lead_id=None, kind=kind, text=None, objection=objection, phase=None)


def group(calls: int, *matches: bool, qualified: int = 0, free: bool = True) -> CallGroup:
    rates = Rates(calls=calls, qualified=qualified, transferred=qualified // 2)
    return CallGroup(matches=matches, closer_free=free, rates=rates)


def evidence(
    scope: str, strategy: StrategyName, tried: int, lifted: int, sunk: int, won: int = 0
) -> Evidence:
    return Evidence(scope=scope, strategy=strategy, tried=tried, lifted=lifted, sunk=sunk, won=won)


class TestProfile:
    def test_what_is_given_outranks_what_is_stored_in_the_order_of_the_playbook(self):
        lead = Lead(
            lead_id="l1",
            experience_level="expert",
            current_income_range="low",
            extra={"motivation": "high"},
        )
        request = InsightRequest(fields={"experience_level": "beginner", "city": "Rome"}, phase=3)
        found = profile_of(request, lead, a_playbook())
        assert found.kind == (BEGINNER, LOW, ("motivation", "high"))
        assert (found.lead_id, found.phase) == ("l1", 3)
        assert (
            found.kinds[0] == "experience_level=beginner|current_income_range=low|motivation=high"
        )
        assert found.kinds[-1] == ""

    def test_of_a_stranger_nothing_is_known(self):
        found = profile_of(InsightRequest(text="hello"), None, a_playbook())
        assert (found.kind, found.kinds, found.lead_id) == ((), ("",), None)


class TestSuccess:
    def test_each_field_and_each_kind_is_summed_against_everybody(self):
        profile = a_profile(BEGINNER, LOW)
        groups = [
            group(10, True, True, qualified=6),
            group(20, True, False, qualified=4),
            group(30, False, True, qualified=3),
            group(40, False, False, qualified=2),
        ]
        found = success_patterns(profile, groups)
        assert found.everybody == Rates(calls=100, qualified=15, transferred=7)
        assert [(f.field, f.rates.calls, f.rates.qualified) for f in found.fields] == [
            ("experience_level", 30, 10),
            ("current_income_range", 40, 9),
        ]
        assert [(k.kind, k.rates.calls) for k in found.kinds] == [
            ("experience_level=beginner|current_income_range=low", 10),
            ("experience_level=beginner", 30),
            ("", 100),
        ]

    def test_a_kind_without_calls_is_left_out(self):
        found = success_patterns(a_profile(BEGINNER), [group(5, False)])
        assert [k.kind for k in found.kinds] == [""]
        assert success_patterns(a_profile(), []).kinds == ()

    @given(
        st.lists(
            st.tuples(st.tuples(st.booleans(), st.booleans()), st.booleans(), st.integers(0, 50))
        )
    )
    def test_a_wider_kind_never_has_fewer_calls(
        self, drawn: list[tuple[tuple[bool, bool], bool, int]]
    ):
        groups = [group(calls, *matches, free=free) for matches, free, calls in drawn]
        found = success_patterns(a_profile(BEGINNER, LOW), groups)
        sizes = [kind.rates.calls for kind in found.kinds]
        assert sizes == sorted(sizes)
        assert found.everybody.calls == sum(calls for _, _, calls in drawn)


class TestAvailability:
    def test_the_narrowest_kind_with_enough_calls_of_both_sorts_tells_it(self):
        few, many = ENOUGH_CALLS - 1, ENOUGH_CALLS
        groups = [
            group(few, True, True, qualified=5),
            group(many, True, False, qualified=7),
            group(many, True, True, qualified=1, free=False),
            group(50, False, False, qualified=9, free=False),
        ]
        found = availability_effect(a_profile(BEGINNER, LOW), groups)
        assert found.kind == "experience_level=beginner"
        assert (found.free.calls, found.free.qualified) == (few + many, 12)
        assert (found.not_free.calls, found.not_free.qualified) == (many, 1)

    def test_without_enough_everybody_is_told_of(self):
        found = availability_effect(a_profile(BEGINNER), [group(3, True, qualified=2)])
        rates = Rates(calls=3, qualified=2, transferred=1)
        assert found == AvailabilityEffect(kind="", free=rates, not_free=Rates())


class TestRelationships:
    def test_a_strategy_is_told_of_the_narrowest_kind_with_enough_reactions(self):
        enough = ENOUGH_REACTIONS
        answer = GraphAnswer(
            strategies=(
                evidence("", STORY, 100, 60, 20, won=30),
                evidence("", REFRAME, 50, 10, 30),
                evidence("experience_level=beginner", STORY, enough, enough, 0, won=1),
                evidence("experience_level=beginner", REFRAME, enough - 1, enough - 1, 0),
                # somebody else's kind
                evidence("experience_level=expert", STORY, 9, 0, 9),
            )
        )
        found = relationships(a_profile(BEGINNER), answer).strategies
        assert [(r.strategy, r.kind, r.tried, r.lifted, r.reacted, r.won) for r in found] == [
            (STORY, "experience_level=beginner", enough, enough, enough, 1),
            (REFRAME, "", 50, 10, 40, 0),
        ]

    def test_the_commonest_objection_of_such_leads_comes_first_with_its_best_answer(self):
        answer = GraphAnswer(
            objections=(
                ObjectionFigures(type=MONEY, met=90, resolved=40, responses=(REFRAME,)),
                ObjectionFigures(type=TRUST, met=50, resolved=30, responses=()),
            ),
            answers=(
                evidence("objection:trust|experience_level=beginner", STORY, 30, 20, 5, won=9),
                evidence("objection:trust", STORY, 40, 22, 9, won=9),
                evidence("objection:trust", REFRAME, 20, 2, 9),
                evidence("objection:money", REFRAME, 25, 9, 9),
            ),
        )
        found = relationships(a_profile(BEGINNER), answer).objections
        assert [(o.type, o.kind, o.answered) for o in found] == [
            (TRUST, "experience_level=beginner", 30),
            (MONEY, "", 25),
        ]
        assert [a.strategy for a in found[0].answers] == [STORY, REFRAME]
        assert found[0].answers[0].kind == "experience_level=beginner"
        assert found[1].responses == (REFRAME,)

    def test_an_objection_that_is_asked_for_is_the_only_one(self):
        answer = GraphAnswer(
            objections=(
                ObjectionFigures(type=MONEY, met=90, resolved=40, responses=()),
                ObjectionFigures(type=TRUST, met=50, resolved=30, responses=()),
            )
        )
        found = relationships(a_profile(objection=TRUST), answer)
        assert [o.type for o in found.objections] == [TRUST]

    def test_patterns_that_come_out_badly_are_not_worth_repeating(self):
        def pattern(identity: str, effectiveness: float, calls: int) -> PatternFigures:
            return PatternFigures(id=identity, type="t", effectiveness=effectiveness, calls=calls)

        drawn = (pattern("a", 8.0, 3), pattern("b", 7.0, 90), pattern("c", 9.0, 30))
        found = relationships(a_profile(), GraphAnswer(patterns=drawn)).patterns
        assert [p.id for p in found] == ["c", "a"]


class TestMoments:
    def moment(
        self, call: str, closeness: float, like: ObjectionType | None = None, text: str = "so?"
    ) -> Moment:
        return Moment(
            call_id=CallId(call), text=text, outcome="follow_up", closeness=closeness, like=like
        )

    def test_the_closest_come_first_and_the_same_words_once(self):
        drawn = [
            self.moment("a", 0.3),
            self.moment("b", 0.9, text="why not?"),
            self.moment("c", 0.5),
        ]
        found = closest_moments(drawn, None)
        assert [(m.call_id, m.closeness) for m in found] == [("b", 0.9), ("c", 0.5)]

    def test_what_such_leads_object_most_comes_before_what_is_closer(self):
        drawn = [self.moment("a", 0.9, MONEY), self.moment("b", 0.4, TRUST, text="real?")]
        assert [m.call_id for m in closest_moments(drawn, [TRUST])] == ["b", "a"]
        assert [m.call_id for m in closest_moments(drawn, [])] == ["a", "b"]

    def test_there_are_no_more_than_a_person_reads(self):
        drawn = [self.moment(f"c{n}", n / 100, text=f"{n}") for n in range(3 * MOMENTS)]
        assert len(closest_moments(drawn, None)) == MOMENTS


def test_counts_that_do_not_fit_are_bounded_by_what_was_tried():
    answer = GraphAnswer(strategies=(evidence("", STORY, 4, 10, 3),))
    [record] = relationships(a_profile(), answer).strategies
    assert (record.lifted, record.reacted, record.tried) == (4, 4, 4)
