"""Leads from a CSV file: each row a lead, or what is wrong with it and in which line."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent_sidecar.adapters.phones import DEFAULT_REGION, e164, is_withheld
from agent_sidecar.domain.lead_progress import LEAD_STATUSES
from agent_sidecar.domain.types import Lead
from agent_sidecar.domain.zones import zone_named
from agent_sidecar.errors import LeadsFileInvalid

# what a column means, for `--help`; any other column is kept in `extra`
COLUMNS = {
    "lead_id": "our id of the lead (UUID), or your own, which is then the external_id",
    "external_id": "your own id of the lead; names one lead",
    "phone": "any usual spelling, kept as E.164; names one lead; anonymous: none",
    "email": "names one lead",
    "first_name": "",
    "last_name": "",
    "source": "where the lead is from, such as webinar",
    "initial_interest": "what he asked for",
    "timezone": "IANA name, such as America/New_York",
    "country": "two letters; left out: that of the phone number",
    "state": "",
    "city": "",
    "status": f"one of {', '.join(LEAD_STATUSES)}; counts only while the stored one is new",
    "current_income_range": "such as 50-75k; one of the fields that make a kind of lead",
    "desired_income_range": "",
    "time_availability": "such as evenings",
    "experience_level": "such as beginner; one of the fields that make a kind of lead",
}
NAMING = ("lead_id", "external_id", "phone", "email")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRow:
    """One row of the file: a lead, or why it is none."""

    # where it begins, the header being 1
    line: int
    lead: Lead
    wrong: str | None = None


def read_leads(file: Path, *, region: str = DEFAULT_REGION) -> Iterator[LeadRow]:
    """Yield the file's rows in their order; empty ones are left out. Raises `LeadsFileInvalid`.

    UTF-8; comma, semicolon or tab between cells, as the header has it.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            text.seek(0)
            delimiter = max(",;\t", key=first.count)
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            names = _header(next(rows, []))
            line = rows.line_num + 1
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    yield _row(line, names, cells, region)
                line = rows.line_num + 1
    except UnicodeDecodeError as exc:
        raise LeadsFileInvalid(f"{file} is not UTF-8 ({exc.reason}): save it as UTF-8") from exc
    except csv.Error as exc:
        raise LeadsFileInvalid(f"{file}, line {rows.line_num}: is no CSV ({exc})") from exc
    except OSError as exc:
        raise LeadsFileInvalid(f"{file} cannot be read: {exc.strerror}") from exc


def _header(cells: Sequence[str]) -> Sequence[str]:
    names = ["_".join(cell.lower().split()) for cell in cells]
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise LeadsFileInvalid(f"line 1: the column {doubled[0]!r} is there twice")
    if not set(NAMING) & set(names):
        raise LeadsFileInvalid(
            f"line 1 must name the columns, one of them {', '.join(NAMING[:-1])} or {NAMING[-1]}:"
            " see `agent-sidecar leads import --help`"
        )
    return names


def _row(line: int, names: Sequence[str], cells: Sequence[str], region: str) -> LeadRow:
    if len(cells) > len(names):
        return _bad(line, f"has {len(cells)} cells, the header has {len(names)} columns")
    given = {n: c.strip() for n, c in zip(names, cells, strict=False) if n and c.strip()}
    known = {name: cell for name, cell in given.items() if name in COLUMNS}
    extra: dict[str, object] = {n: c for n, c in given.items() if n not in COLUMNS}
    lead = Lead(**known, extra=extra)
    if lead.phone is not None and is_withheld(lead.phone):
        lead = replace(lead, phone=None)
    number = e164(lead.phone, region=region)
    if lead.phone is not None and number is None:
        return _bad(line, "phone: is no phone number")
    if wrong := _wrong(lead):
        return _bad(line, wrong)
    country = lead.country and lead.country.upper()
    return LeadRow(line=line, lead=replace(lead, phone=number, country=country))


def _wrong(lead: Lead) -> str | None:
    if not (lead.lead_id or lead.external_id or lead.phone or lead.email):
        return f"names nobody: give {', '.join(NAMING[:-1])} or {NAMING[-1]}"
    if lead.email is not None and (lead.email.count("@") != 1 or " " in lead.email):
        return "email: is no address"
    if lead.timezone is not None and zone_named(lead.timezone) is None:
        return f"timezone: there is no zone {lead.timezone!r}, write such as America/New_York"
    if lead.country is not None and not (len(lead.country) == 2 and lead.country.isalpha()):
        return "country: must be two letters"
    if lead.status not in LEAD_STATUSES:
        return f"status: {lead.status!r} is none of {', '.join(LEAD_STATUSES)}"
    return None


def _bad(line: int, wrong: str) -> LeadRow:
    return LeadRow(line=line, lead=Lead(), wrong=wrong)
