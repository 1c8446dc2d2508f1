import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.types import AgentKind, Leg, LegId, Party, Track
from agent_sidecar.domain.voices import Voices
from tests.domain.playbooks import at

PROSPECT, AGENT, CLOSER = LegId("leg:prospect"), LegId("leg:agent"), LegId("leg:closer")
LEGS: dict[LegId, Party] = {PROSPECT: "prospect", AGENT: "agent", CLOSER: "closer"}


def voices(*legs: LegId, agent: AgentKind = "assistant") -> Voices:
    """Return the voices of a call whose legs (all where none is named) are answered."""
    made = Voices({}, agent)
    for leg_id in legs or LEGS:
        made.join(Leg(leg_id=leg_id, party=LEGS[leg_id]), at(0), answered=True)
    return made


def now(made: Voices) -> str:
    return made.other


@pytest.mark.parametrize(
    ("leg_id", "track", "with_agent", "with_closer"),
    [
        (PROSPECT, "inbound", "prospect", "prospect"),
        (PROSPECT, "outbound", "agent", "closer"),
        (AGENT, "inbound", "agent", "agent"),
        (AGENT, "outbound", "prospect", None),
        (CLOSER, "inbound", None, "closer"),
        (CLOSER, "outbound", None, "prospect"),
        (LegId("leg:unknown"), "inbound", None, None),
    ],
)
def test_a_voice_is_known_by_its_leg_its_track_and_its_time(
    leg_id: LegId, track: Track, with_agent: Party | None, with_closer: Party | None
):
    made = voices()
    made.begin_turn(at(10), CLOSER)
    made.leave(at(20), CLOSER)
    found = [made.speaker(leg_id, track, at(second)) for second in (9.9, 10, 19.9, 20)]
    assert found == [with_agent, with_closer, with_closer, with_agent]


def test_who_talks_with_the_prospect_now():
    made = voices()
    assert now(made) == "agent"
    made.begin_turn(at(10), CLOSER)
    assert now(made) == "closer"
    made.leave(at(20), PROSPECT)
    assert now(made) == "closer"
    made.leave(at(21), CLOSER)
    assert now(made) == "agent"


def test_a_bridge_that_is_told_twice_and_late_is_one_turn_from_its_first_moment():
    made = voices()
    made.begin_turn(at(12), CLOSER)
    made.begin_turn(at(10), CLOSER)
    made.leave(at(20), CLOSER)
    made.begin_turn(at(11), CLOSER)
    assert [made.other_at(at(s)) for s in (9, 10, 19, 20)] == ["agent", "closer", "closer", "agent"]
    assert now(made) == "agent"


def test_a_bridge_that_is_proven_after_the_closer_left_is_over():
    made = voices()
    made.leave(at(20), CLOSER)
    made.begin_turn(at(10), CLOSER)
    assert now(made) == "agent"
    assert made.other_at(at(15)) == "closer"


def test_a_closer_whose_leg_nobody_knows_still_talks():
    made = voices()
    made.begin_turn(at(10), None)
    made.leave(at(11), AGENT)
    assert now(made) == "closer"
    made.leave(at(12), CLOSER)
    assert now(made) == "agent"


@pytest.mark.parametrize("ends", [(CLOSER, None), (CLOSER, PROSPECT), (PROSPECT, CLOSER)])
def test_a_bridge_of_the_user_s_own_makes_the_other_voice_the_closer_s(
    ends: tuple[LegId, LegId | None],
):
    made = voices()
    made.bridge(at(10), *ends)
    assert now(made) == "closer"
    made.leave(at(15), CLOSER)
    assert [made.other_at(at(s)) for s in (9, 14, 16)] == ["agent", "closer", "agent"]


def test_a_bridge_back_to_the_agent_gives_him_the_prospect_and_a_second_one_the_closer_again():
    made = voices()
    made.bridge(at(10), CLOSER, None)
    made.bridge(at(9), AGENT, PROSPECT)
    assert now(made) == "closer"
    made.bridge(at(20), PROSPECT, AGENT)
    assert now(made) == "agent"
    made.bridge(at(30), PROSPECT, CLOSER)
    found = [made.other_at(at(second)) for second in (5, 15, 25, 35)]
    assert found == ["agent", "closer", "agent", "closer"]


@pytest.mark.parametrize(
    "ends", [(PROSPECT, None), (AGENT, CLOSER), (LegId("leg:unknown"), None), (PROSPECT, AGENT)]
)
def test_a_bridge_of_anybody_else_changes_nothing(ends: tuple[LegId, LegId | None]):
    made = voices()
    made.bridge(at(10), *ends)
    assert now(made) == "agent"


@pytest.mark.parametrize("order", [(AGENT, CLOSER), (CLOSER, AGENT)])
def test_a_human_s_talk_with_the_closer_gives_him_nobody_where_no_bridge_names_its_ends(
    order: tuple[LegId, LegId],
):
    made = voices(agent="human")
    for second, ends in ((0, (PROSPECT, AGENT)), (10, order), (20, (PROSPECT, AGENT))):
        for leg_id in ends:
            made.bridge(at(second), leg_id, None)
    assert {made.other_at(at(second)) for second in range(30)} == {"agent"}


@pytest.mark.parametrize("order", [(PROSPECT, CLOSER), (CLOSER, PROSPECT)])
def test_a_human_s_closer_has_the_prospect_once_both_legs_told_of_a_bridge(
    order: tuple[LegId, LegId],
):
    made = voices(agent="human")
    for second, ends in ((10, (AGENT, CLOSER)), (20, order), (40, (AGENT, PROSPECT))):
        for place, leg_id in enumerate(ends):
            made.bridge(at(second + 0.1 * place), leg_id, None)
    assert [made.other_at(at(s)) for s in (15, 20, 39, 41)] == [
        "agent",
        "closer",
        "closer",
        "agent",
    ]


def test_a_human_s_closer_needs_no_second_bridge_where_the_first_names_the_prospect():
    made = voices(agent="human")
    made.bridge(at(5), CLOSER, LegId("leg:unknown"))
    made.bridge(at(5), LegId("leg:unknown"), None)
    assert now(made) == "agent"
    made.bridge(at(10), CLOSER, PROSPECT)
    assert now(made) == "closer"


def test_a_leg_rings_until_there_is_proof_that_somebody_took_it():
    legs: dict[LegId, Leg] = {}
    made = Voices(legs, "human")
    for leg_id, party in LEGS.items():
        made.join(Leg(leg_id=leg_id, party=party), at(0), answered=False)
        assert made.is_ringing(leg_id)
    made.join(Leg(leg_id=PROSPECT, party="prospect"), at(1), answered=True)
    made.bridge(at(2), AGENT, CLOSER)
    assert not [leg_id for leg_id in LEGS if made.is_ringing(leg_id)]
    # told late, it does not ring again
    made.join(Leg(leg_id=PROSPECT, party="prospect"), at(0), answered=False)
    assert not made.is_ringing(PROSPECT)
    made.join(Leg(leg_id=LegId("leg:other"), party="agent"), at(3), answered=False)
    made.leave(at(4), LegId("leg:other"))
    assert not made.is_ringing(LegId("leg:other"))
    assert made.leave(at(5), LegId("leg:unknown")) is None
    assert legs[LegId("leg:other")].to_at == at(4)


def test_what_is_known_of_a_leg_is_completed_and_never_forgotten():
    legs: dict[LegId, Leg] = {}
    made = Voices(legs, "human")
    first = Leg(leg_id=AGENT, party="agent", call_leg_id="l", call_session_id="s")
    made.join(first, at(1), answered=False)
    made.leave(at(9), AGENT)
    made.join(Leg(leg_id=AGENT, party="agent"), at(2), answered=True)
    (leg,) = legs.values()
    assert (leg.call_leg_id, leg.call_session_id, leg.from_at, leg.to_at) == (
        "l",
        "s",
        at(1),
        at(9),
    )


@given(st.lists(st.tuples(st.sampled_from(["bridge", "back", "leave"]), st.integers(0, 60))))
def test_whatever_is_told_in_whatever_order_everybody_has_one_name(told: list[tuple[str, int]]):
    made = voices()
    for kind, second in told:
        if kind == "leave":
            made.leave(at(second), CLOSER)
        else:
            made.bridge(at(second), PROSPECT, CLOSER if kind == "bridge" else AGENT)
    for second in range(70):
        other = made.other_at(at(second))
        assert made.speaker(PROSPECT, "inbound", at(second)) == "prospect"
        assert made.speaker(PROSPECT, "outbound", at(second)) == other
        # nobody is heard twice: the agent's leg and the closer's never both have the prospect
        heard = {made.speaker(leg, "outbound", at(second)) for leg in (AGENT, CLOSER)}
        assert heard == {None, "prospect"}
