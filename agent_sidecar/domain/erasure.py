"""Who is to be forgotten, and how his calls are known."""

from dataclasses import dataclass, fields, replace
from hashlib import sha256

from agent_sidecar.domain.types import Lead

# a number without its country's prefix is told by so many digits
_NATIONAL = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Everything that names one lead."""

    lead_ids: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    # digits only
    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()

    def known_as(self, lead: Lead) -> "Person":
        """Return him with what else names him."""
        other = _named(lead)
        both = {f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)}
        return replace(self, **both)

    def is_named(self, lead: Lead) -> bool:
        """Say whether a lead is he: any of his names is one of the lead's."""
        other = _named(lead)
        return not (
            self.lead_ids.isdisjoint(other.lead_ids)
            and self.external_ids.isdisjoint(other.external_ids | other.lead_ids)
            and self.emails.isdisjoint(other.emails)
            and not any(is_same_number(a, b) for a in self.phones for b in other.phones)
        )

    @property
    def fingerprint(self) -> str:
        """Return what tells his erasure from others' and nobody can read him from."""
        names = sorted(self.lead_ids) or sorted(self.external_ids) or sorted(self.phones)
        return sha256("\n".join(names).encode()).hexdigest()


def person(*, lead_id: str | None = None, phone: str | None = None) -> Person:
    """Return who is asked for, by our id or his own, or by his number."""
    ids = frozenset({lead_id}) if lead_id else frozenset()
    digits = _digits(phone)
    phones = frozenset({digits}) if digits else frozenset()
    return Person(lead_ids=ids, external_ids=ids, phones=phones)


def is_same_number(one: str, other: str) -> bool:
    """Compare two numbers, digits only; one of them may be without its country's prefix."""
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= _NATIONAL and long.endswith(short))


def _named(lead: Lead) -> Person:
    phones = {_digits(lead.phone), _digits(_text(lead.extra.get("phone")))} - {""}
    return Person(
        lead_ids=frozenset({lead.lead_id} - {""}),
        external_ids=frozenset({lead.external_id or ""} - {""}),
        phones=frozenset(phones),
        emails=frozenset({(lead.email or "").strip().lower()} - {""}),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _digits(phone: str | None) -> str:
    return "".join(c for c in phone or "" if c.isdecimal())
