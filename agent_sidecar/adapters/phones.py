"""Phone numbers as one spelling each: E.164."""

import re

import phonenumbers

DEFAULT_REGION = "US"
# what carriers send for a caller who does not show his number
_WITHHELD = frozenset(
    {"anonymous", "private", "restricted", "unavailable", "unknown", "withheld", "blocked"}
)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SEPARATORS = re.compile(r"[\s().\-/]")


def e164(raw: str | None, *, region: str = DEFAULT_REGION) -> str | None:
    """Return the number in E.164, or None when there is none in it; SIP addresses are read too.

    `region` (two letters) is where numbers without a country code are dialled.
    """
    written = _user_part(raw or "")
    if is_withheld(written):
        return None
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        number = None
    if number is not None and phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # a network knows numbers that no numbering plan does: test lines, short codes of carriers
    bare = _SEPARATORS.sub("", written)
    return bare if _E164.fullmatch(bare) else None


def is_withheld(raw: str | None) -> bool:
    """Nothing was given, or a word that stands for a hidden number."""
    return _user_part(raw or "").lower() in _WITHHELD | {""}


def country_of(phone: str | None) -> str | None:
    """Return the country (two letters) of an E.164 number, where the number shows it."""
    if phone is None:
        return None
    try:
        code = phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
    # "001": a number of no country
    return code if code and code.isalpha() else None


def _user_part(raw: str) -> str:
    """Return what stands for the caller in a SIP address; any other text as it is."""
    address = raw.strip().removeprefix("sips:").removeprefix("sip:").removeprefix("tel:")
    return address.partition("@")[0].partition(";")[0].strip()
