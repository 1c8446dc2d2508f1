"""Phone numbers and addresses of PostgreSQL: what needs no server."""

import pytest

from agent_sidecar.adapters.pg.address import PgAddress
from agent_sidecar.adapters.phones import country_of, e164, is_withheld
from agent_sidecar.errors import SettingsInvalid

NEON = "postgresql://me:s3cret@ep-cool-1-pooler.eu-central-1.aws.neon.tech/crm"


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("+12125550142", "+12125550142"),
        ("(212) 555-0142", "+12125550142"),
        ("1-212-555-0142", "+12125550142"),
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("sip:+12125550142@sip.telnyx.com;user=phone", "+12125550142"),
        ("tel:+12125550142", "+12125550142"),
        # in E.164 and of no numbering plan: networks and tests know such numbers
        ("+1234567890", "+1234567890"),
        ("+1 234-567-890", "+1234567890"),
        ("anonymous", None),
        ("", None),
        (None, None),
        ("call me", None),
        ("12", None),
        ("+0123456789", None),
        ("sip:kevin@example.com", None),
    ],
)
def test_a_number_has_one_spelling(raw: str | None, number: str | None):
    assert e164(raw) == number


def test_the_region_says_what_a_number_without_country_code_is():
    assert e164("020 7946 0958", region="GB") == "+442079460958"


@pytest.mark.parametrize("raw", ["", None, "Restricted", "sip:anonymous@anonymous.invalid"])
def test_a_hidden_number_is_withheld(raw: str | None):
    assert is_withheld(raw)


def test_a_wrong_number_is_not_withheld():
    assert not is_withheld("call me")


@pytest.mark.parametrize(
    ("phone", "country"),
    [("+12125550142", "US"), ("+14165550142", "CA"), ("+80012345678", None), (None, None)],
)
def test_the_country_is_the_numbers(phone: str | None, country: str | None):
    assert country_of(phone) == country


def test_a_pooled_address_is_known_and_cleaned_of_what_the_driver_would_pass_on():
    address = PgAddress.parse(f"{NEON}?sslmode=require&channel_binding=require", setting="S")
    assert address.pooled
    assert address.dsn == f"{NEON}?sslmode=require"
    assert address.place == "ep-cool-1-pooler.eu-central-1.aws.neon.tech/crm"
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "pooled"),
    [
        ("postgresql://u@aws-0.pooler.supabase.com:6543/x", True),
        ("postgres://u@db.example.com/x?pgbouncer=true", True),
        ("postgres://u@db.example.com/x?statement_cache_size=0", True),
        ("postgresql://u@ep-cool-1.eu-central-1.aws.neon.tech/x", False),
        ("postgresql://u@/x?host=/run/postgres&port=5432", False),
    ],
)
def test_statements_are_prepared_only_where_the_session_is_ours(url: str, pooled: bool):
    assert PgAddress.parse(url, setting="S").pooled is pooled


def test_a_socket_is_a_place_too():
    address = PgAddress.parse("postgresql://u:p@/x?host=/run/my dir&port=5432", setting="S")
    assert address.place == "/run/my dir/x"
    assert address.dsn == "postgresql://u:p@/x?host=%2Frun%2Fmy+dir&port=5432"


@pytest.mark.parametrize("url", ["mysql://h/x", "postgresql://h:port/x", "nonsense"])
def test_a_url_that_is_none_names_the_setting(url: str):
    with pytest.raises(SettingsInvalid, match="MY_SETTING"):
        PgAddress.parse(url, setting="MY_SETTING")
