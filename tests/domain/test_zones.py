import pytest

from agent_sidecar.domain.zones import zone_named


def test_a_zone_is_found_by_its_iana_name():
    assert str(zone_named("America/New_York")) == "America/New_York"


@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "America", "a\0b"])
def test_what_is_no_zone_is_none(name):
    assert zone_named(name) is None
