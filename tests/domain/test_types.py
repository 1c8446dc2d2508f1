import pytest

from agent_sidecar.domain.types import Lead


@pytest.mark.parametrize(
    ("lead", "name"),
    [
        (Lead(), None),
        (Lead(first_name="Ada"), "Ada"),
        (Lead(last_name="Byron"), "Byron"),
        (Lead(first_name="Ada", last_name="Byron"), "Ada Byron"),
    ],
)
def test_a_lead_is_called_what_is_known_of_his_name(lead, name):
    assert lead.name == name
