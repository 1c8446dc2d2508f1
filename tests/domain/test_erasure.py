import pytest

from agent_sidecar.domain.erasure import Person, is_same_number, person
from agent_sidecar.domain.types import Lead

PHONE = "+12025550143"


@pytest.mark.parametrize(
    ("asked", "lead"),
    [
        (person(lead_id="l1"), Lead(lead_id="l1")),
        # the user's own id, wherever it was kept
        (person(lead_id="l1"), Lead(external_id="l1")),
        (person(phone=PHONE), Lead(phone=PHONE)),
        (person(phone=PHONE), Lead(phone="202-555-0143")),
        (person(phone=PHONE), Lead(extra={"phone": "(202) 555 0143"})),
        (Person(emails=frozenset({"a@b.co"})), Lead(email=" A@b.co")),
    ],
)
def test_he_is_known_by_any_of_his_names(asked, lead):
    assert asked.is_named(lead)


@pytest.mark.parametrize(
    "lead",
    [
        Lead(),
        Lead(lead_id="l2", phone="+12025550144", external_id="x", email="c@d.co"),
        Lead(phone="0143"),
        Lead(extra={"phone": 7}),
    ],
)
def test_others_are_not_he(lead):
    asked = person(lead_id="l1").known_as(Lead(phone=PHONE, email="a@b.co"))
    assert not asked.is_named(lead)


def test_what_the_store_knows_of_him_names_him_too():
    him = person(phone=PHONE).known_as(Lead(lead_id="l1", external_id="x", email="a@b.co"))
    for lead in (Lead(lead_id="l1"), Lead(external_id="x"), Lead(email="a@b.co")):
        assert him.is_named(lead)


def test_numbers_are_the_same_with_and_without_prefix_but_not_by_their_last_digits():
    assert is_same_number("12025550143", "2025550143")
    assert is_same_number("5550143", "5550143")
    assert not is_same_number("12025550143", "5550143")


def test_a_fingerprint_tells_erasures_apart_and_names_nobody():
    one, other = person(lead_id="l1").fingerprint, person(phone=PHONE).fingerprint
    assert one != other
    assert PHONE[1:] not in other
    assert person(lead_id="l1").fingerprint == one
    assert Person(external_ids=frozenset({"x"})).fingerprint
