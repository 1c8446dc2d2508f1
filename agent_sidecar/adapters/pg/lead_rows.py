"""Rows of `leads`: one per person, found by what is known of him, never refused, never doubled.

Everything runs inside the caller's transaction and returns with the row locked until its end, so
that whoever decides something about a lead decides alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg
import msgspec

from agent_sidecar.adapters.pg.pool import Connection
from agent_sidecar.adapters.pg.texts import storable
from agent_sidecar.adapters.phones import DEFAULT_REGION, country_of, e164, is_withheld
from agent_sidecar.domain.lead_progress import LEAD_STATUSES
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import RecordRejected, StoreUnavailable

# What names a lead, most telling first. $5 is the id that a nameless one was given; it is found by
# that until it has names, and after that only by somebody who has none.
_FIND = """
SELECT * FROM leads
WHERE id = $1 OR external_id = $2 OR phone = $3 OR email = $4
    OR (id = $5 AND (coalesce($2, $3, $4) IS NULL OR coalesce(external_id, phone, email) IS NULL))
ORDER BY CASE WHEN id = $1 THEN 1 WHEN external_id = $2 THEN 2 WHEN phone = $3 THEN 3
    WHEN email = $4 THEN 4 ELSE 5 END
LIMIT 1 FOR UPDATE
"""
# everybody whom any of these may be; which lead is whose is told here, as the order above tells it
_FIND_ALL = """
SELECT * FROM leads
WHERE id = ANY($1::uuid[]) OR external_id = ANY($2::text[]) OR phone = ANY($3::text[])
    OR email = ANY($4::text[])
ORDER BY id FOR UPDATE
"""
_TAKEN = """
SELECT id, external_id, phone, email FROM leads
WHERE id <> $1 AND (external_id = $2 OR phone = $3 OR email = $4)
"""
_INSERT = """
INSERT INTO leads (id, external_id, phone, email, first_name, last_name, source, initial_interest,
    timezone, country, state, city, current_income_range, desired_income_range, time_availability,
    experience_level, extra, status, set_status, set_status_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
    nullif($18, 'new'), CASE WHEN $19 AND $18 <> 'new' THEN now() END)
ON CONFLICT DO NOTHING RETURNING *
"""
_UPDATE = """
UPDATE leads SET external_id = $2, phone = $3, email = $4, first_name = $5, last_name = $6,
    source = $7, initial_interest = $8, timezone = $9, country = $10, state = $11, city = $12,
    current_income_range = $13, desired_income_range = $14, time_availability = $15,
    experience_level = $16, extra = $17, status = $18,
    set_status = CASE WHEN status = $18 THEN set_status ELSE $18 END,
    set_status_at = CASE WHEN status = $18 THEN set_status_at WHEN $19 THEN now() END,
    calls_status = CASE WHEN status = $18 THEN calls_status END,
    updated_at = now()
WHERE id = $1 RETURNING *
"""
_KEYS = ("external_id", "phone", "email")
_FACTS = (
    "first_name",
    "last_name",
    "source",
    "initial_interest",
    "timezone",
    "country",
    "state",
    "city",
    "current_income_range",
    "desired_income_range",
    "time_availability",
    "experience_level",
)
_RACES = 3


async def find_or_create(
    connection: Connection,
    lead: Lead,
    *,
    spare_id: UUID | None = None,
    region: str = DEFAULT_REGION,
) -> Lead:
    """Return the lead that these facts name, completed by them; a new one if they name none.

    `spare_id` becomes the id of a lead that nothing names, and finds it again. A fact that cannot
    be used (a wrong number, a key of another lead) is kept in `extra`.
    """
    return await _find_or_create(connection, Named.read(lead, spare_id=spare_id, region=region))


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a record says of its lead, ready to be looked up."""

    lead: Lead
    # where it is one of ours
    given_id: UUID | None
    spare_id: UUID | None

    @classmethod
    def read(cls, lead: Lead, *, spare_id: UUID | None, region: str) -> "Named":
        """Normalise what is said; `spare_id` as in `find_or_create`."""
        given, is_ours = _normalised(lead, region)
        if given.status not in LEAD_STATUSES:
            given = replace(given, status="new", extra={**given.extra, "status": given.status})
        return cls(lead=given, given_id=UUID(given.lead_id) if is_ours else None, spare_id=spare_id)

    @property
    def names(self) -> frozenset[tuple[str, object]]:
        """Everything that may lead to his row: two who share one of these may be one person."""
        keys = {(key, getattr(self.lead, key)) for key in _KEYS}
        ids = {("id", self.given_id), ("id", self.spare_id)}
        return frozenset(name for name in keys | ids if name[1] is not None)

    @property
    def is_nameless(self) -> bool:
        """Nothing but an id names him."""
        return not any(getattr(self.lead, key) for key in _KEYS)

    def new_id(self) -> UUID:
        """Return the id of his row, if there is none yet."""
        return self.given_id or (self.spare_id if self.is_nameless else None) or uuid4()


async def find_or_create_all(
    connection: Connection, wanted: Sequence[Named], *, races: int = _RACES
) -> Sequence[UUID]:
    """Return the leads' ids, locked; as `find_or_create` for each, in a few statements.

    No two of them may share a name. Loses so many `races` against other writers.
    """
    if races == 0:
        raise StoreUnavailable("leads were written by others at the same time; try again")
    rows = await connection.fetch(
        _FIND_ALL,
        [i for named in wanted for i in (named.given_id, named.spare_id) if i is not None],
        *([v for n in wanted if (v := getattr(n.lead, key)) is not None] for key in _KEYS),
    )
    found = [_row_of(named, rows) for named in wanted]
    new = [named for named, row in zip(wanted, found, strict=True) if row is None]
    made = iter(await _insert_all(connection, new, races) if new else ())
    ids: list[UUID] = []
    for named, row in zip(wanted, found, strict=True):
        if row is None:
            ids.append(next(made))
        elif row["id"] in ids:
            # two names of one person: what the first said of him is stored by now
            ids.append(UUID((await _find_or_create(connection, named)).lead_id))
        else:
            ids.append(UUID((await _complete(connection, row, named.lead)).lead_id))
    return ids


async def _find_or_create(connection: Connection, named: Named) -> Lead:
    given = named.lead
    for _ in range(_RACES):
        row = await connection.fetchrow(
            _FIND, named.given_id, given.external_id, given.phone, given.email, named.spare_id
        )
        if row is not None:
            return await _complete(connection, row, given)
        row = await connection.fetchrow(_INSERT, *_values(named.new_id(), given), False)
        if row is not None:
            return lead_of(row)
    raise StoreUnavailable("a lead was written by others at the same time; try again")


async def _insert_all(connection: Connection, new: Sequence[Named], races: int) -> Sequence[UUID]:
    ids = [named.new_id() for named in new]
    # in an order that is everybody's: two who wait for each other's leads would wait for ever
    ordered = sorted(zip(ids, new, strict=True), key=lambda one: sorted(map(str, one[1].names)))
    values = [(*_values(lead_id, named.lead), False) for lead_id, named in ordered]
    if len(await connection.fetchmany(_INSERT, values)) == len(new):
        return ids
    # somebody else wrote one of them just now: now all are found by their names, and locked in the
    # order of everybody who finds them
    return await find_or_create_all(connection, new, races=races - 1)


def _row_of(named: Named, rows: Sequence[asyncpg.Record]) -> asyncpg.Record | None:
    """Return the lead that these facts name, by what is most telling, as `_FIND` does."""
    given = named.lead
    tellings: list[tuple[str, object]] = [("id", named.given_id)]
    tellings += [(key, getattr(given, key)) for key in _KEYS]
    for key, value in tellings:
        for row in rows:
            if value is not None and row[key] == value:
                return row
    for row in rows:
        row_is_nameless = not any(row[key] for key in _KEYS)
        if row["id"] == named.spare_id and (named.is_nameless or row_is_nameless):
            return row
    return None


async def put(connection: Connection, lead: Lead, *, region: str = DEFAULT_REGION) -> Lead:
    """Change or create a lead as a person wants it: what is given wins, None stays.

    Raises `RecordRejected` for an unknown status and for a key that another lead has.
    """
    given, is_ours = _normalised(lead, region)
    row = await _meant(connection, given, is_ours=is_ours)
    lead_id = _id_for(row, given, is_ours=is_ours)
    wanted = given if row is None else _merged(first=given, second=lead_of(row))
    return await _written(connection, row, lead_id, wanted)


async def take_in(
    connection: Connection, lead: Lead, *, region: str = DEFAULT_REGION
) -> Literal["created", "changed", "unchanged"]:
    """Do what `put` does for a list that may be old: a lead who has moved on does not go back.

    A status is taken only where the stored one is still `new`. Twice is as once. Raises as `put`.
    """
    given, is_ours = _normalised(lead, region)
    row = await _meant(connection, given, is_ours=is_ours)
    lead_id = _id_for(row, given, is_ours=is_ours)
    if row is None:
        await _written(connection, None, lead_id, given)
        return "created"
    stored = lead_of(row)
    if given.external_id and stored.external_id not in {None, given.external_id}:
        # two people of one household: the list would change the lead at every import
        raise RecordRejected(
            f"phone or email of this lead is that of lead {stored.lead_id}, whose external_id is"
            " another one: give each a phone and email of his own, or leave external_id out"
        )
    wanted = _merged(first=given, second=stored)
    if stored.status != "new":
        wanted = replace(wanted, status=stored.status)
    if replace(wanted, lead_id=stored.lead_id) == stored:
        return "unchanged"
    await _written(connection, row, lead_id, wanted)
    return "changed"


async def _meant(connection: Connection, given: Lead, *, is_ours: bool) -> "asyncpg.Record | None":
    """Return the row that somebody wants to change, locked. Raises `RecordRejected`."""
    if given.status not in LEAD_STATUSES:
        raise RecordRejected(
            f"status {given.status!r} of a lead must be one of: {', '.join(LEAD_STATUSES)}"
        )
    given_id = UUID(given.lead_id) if is_ours else None
    # an id is an order: then no other key may lead to another lead
    keys = (None, None, None) if is_ours else (given.external_id, given.phone, given.email)
    return await connection.fetchrow(_FIND, given_id, *keys, None)


def _id_for(row: "asyncpg.Record | None", given: Lead, *, is_ours: bool) -> UUID:
    if row is not None:
        return UUID(str(row["id"]))
    return UUID(given.lead_id) if is_ours else uuid4()


async def _written(
    connection: Connection, row: "asyncpg.Record | None", lead_id: UUID, wanted: Lead
) -> Lead:
    for key, owner in (await _taken(connection, lead_id, wanted)).items():
        raise RecordRejected(
            f"{key} of this lead is that of lead {owner}: change that one, or leave {key} out"
        )
    statement = _INSERT if row is None else _UPDATE
    written = await connection.fetchrow(statement, *_values(lead_id, wanted), True)
    if written is None:
        raise StoreUnavailable("a lead was written by others at the same time; try again")
    return lead_of(written)


def lead_of(row: asyncpg.Record) -> Lead:
    """Return the lead in a row of `leads`."""
    return Lead(
        lead_id=str(row["id"]),
        status=row["status"],
        extra=msgspec.json.decode(row["extra"], type=dict[str, object]),
        **{name: row[name] for name in (*_KEYS, *_FACTS)},
    )


async def _complete(connection: Connection, row: asyncpg.Record, given: Lead) -> Lead:
    stored = lead_of(row)
    wanted = _merged(first=stored, second=given)
    if wanted == stored:
        return stored
    taken = await _taken(connection, row["id"], wanted)
    if taken:
        # the stored lead keeps what is its own: only completed keys can be another's
        spoilt = {key: getattr(wanted, key) for key in taken}
        without: dict[str, Any] = dict.fromkeys(spoilt)
        wanted = replace(wanted, extra={**spoilt, **wanted.extra}, **without)
        if wanted == stored:
            return stored
    written = await connection.fetchrow(_UPDATE, *_values(row["id"], wanted), False)
    if written is None:
        raise StoreUnavailable("a lead was deleted at the same time; try again")
    return lead_of(written)


async def _taken(connection: Connection, lead_id: UUID, lead: Lead) -> Mapping[str, UUID]:
    """Return which keys of the lead belong to others, and to whom."""
    others = await connection.fetch(_TAKEN, lead_id, lead.external_id, lead.phone, lead.email)
    return {
        key: other["id"]
        for other in others
        for key in _KEYS
        if other[key] is not None and other[key] == getattr(lead, key)
    }


def _merged(*, first: Lead, second: Lead) -> Lead:
    """Return what the first says, completed by the second; a status of `new` says nothing."""
    facts: dict[str, Any] = {
        name: getattr(second, name) if getattr(first, name) is None else getattr(first, name)
        for name in (*_KEYS, *_FACTS)
    }
    return replace(
        first,
        lead_id=first.lead_id or second.lead_id,
        status=second.status if first.status == "new" else first.status,
        extra={**second.extra, **first.extra},
        **facts,
    )


def _values(lead_id: UUID, lead: Lead) -> Sequence[object]:
    """Return the parameters $1 to $18 of `_INSERT` and `_UPDATE`."""
    extra = msgspec.json.encode(lead.extra).decode()
    texts = [getattr(lead, name) for name in (*_KEYS, *_FACTS)]
    return (lead_id, *texts, extra, lead.status)


def _normalised(lead: Lead, region: str) -> tuple[Lead, bool]:
    """Return the lead as it is stored, and whether its id is one of ours."""
    texts: dict[str, Any] = {name: _text(getattr(lead, name)) for name in (*_KEYS, *_FACTS)}
    given_id, extra = _text(lead.lead_id), _storable_object(lead.extra)
    is_ours = _is_uuid(given_id)
    if given_id is not None and not is_ours:
        # the user's own id
        if texts["external_id"] is None:
            texts["external_id"] = given_id
        elif texts["external_id"] != given_id:
            extra["lead_id"] = given_id
    raw_phone = texts["phone"]
    texts["phone"] = e164(raw_phone, region=region)
    if texts["phone"] is None and not is_withheld(raw_phone):
        extra["phone"] = raw_phone
    texts["email"] = texts["email"] and texts["email"].lower()
    texts["country"] = texts["country"] or country_of(texts["phone"])
    normalised = replace(
        lead, lead_id=given_id if is_ours and given_id else "", extra=extra, **texts
    )
    return normalised, is_ours


def _text(value: str | None) -> str | None:
    """Return a text as PostgreSQL can hold it; a blank one says nothing."""
    return storable(value or "").strip() or None


def _storable_object(value: Mapping[str, object]) -> dict[str, object]:
    return {storable(str(key)): _storable_part(part) for key, part in value.items()}


def _storable_part(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case Mapping():
            return _storable_object(value)
        case list() | tuple():
            return [_storable_part(part) for part in value]
    return value


def _is_uuid(text: str | None) -> bool:
    """Is it written as we write ids? Sixteen bytes in hex may be somebody's own key."""
    try:
        return text is not None and str(UUID(text)) == text.lower()
    except ValueError:
        return False
