"""Bodies and queries into typed values; what is wrong in them is named."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import RequestInvalid

Shape = TypeVar("Shape")

Name = Annotated[str, Meta(min_length=1, max_length=500)]
Words = Annotated[str, Meta(min_length=1, max_length=10_000, pattern=r"\S")]
Zoned = Annotated[datetime, Meta(tz=True)]
# beyond these no time is of a telephone call, and sums of times would leave the calendar
_EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

# how msgspec puts it: Expected `int`, got `str` - at `$.lead.phone`
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MEMBER: Final = re.compile(r"(?:missing required|unknown) field `(?P<name>.*)`")


async def read_body(
    request: web.Request, shape: type[Shape], *, may_be_empty: bool = False
) -> Shape:
    """Decode the JSON body. Raises `RequestInvalid`."""
    raw = await request.read()
    if not raw and may_be_empty:
        raw = b"{}"
    return decode(raw, shape)


def decode(raw: bytes | str, shape: type[Shape]) -> Shape:
    """Decode JSON. Raises `RequestInvalid`."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as exc:
        raise _invalid(exc, prefix="") from exc
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise RequestInvalid(
            f"the body is no JSON: {exc}", field="(body)", what_to_do="send one JSON object"
        ) from exc


def convert(given: object, shape: type[Shape], *, field: str) -> Shape:
    """Validate plain values that came in at `field`. Raises `RequestInvalid`."""
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError as exc:
        raise _invalid(exc, prefix=field) from exc


def moment(at: datetime, *, field: str) -> datetime:
    """Return the time as UTC. Raises `RequestInvalid` for one that no call can have."""
    if not _EARLIEST <= at <= _LATEST:
        raise RequestInvalid(
            f"{field} {at.isoformat()} is not the time of a call",
            field=field,
            what_to_do=f"correct {field}, or leave it out for now",
        )
    return at.astimezone(UTC)


def read_count(request: web.Request, name: str, *, default: int, most: int) -> int:
    """Read a whole number, 1 to `most`, from the query. Raises `RequestInvalid`."""
    text = request.query.get(name, str(default))
    if len(text) > 9 or not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise RequestInvalid(
            f"{name} must be a whole number from 1 to {most}",
            field=name,
            what_to_do=f"leave {name} out for {default}",
        )
    return int(text)


def _invalid(exc: msgspec.ValidationError, *, prefix: str) -> RequestInvalid:
    place = _PLACE.match(str(exc))
    what, path = (place["what"], place["path"]) if place else (str(exc), None)
    member = _MEMBER.search(what)
    parts = [prefix, path or "", member["name"] if member else ""]
    field = ".".join(part for part in parts if part) or "(body)"
    if member and "unknown" in what:
        return RequestInvalid(
            f"there is no field {field}", field=field, what_to_do=f"leave {field} out"
        )
    if member:
        return RequestInvalid(f"{field} is missing", field=field, what_to_do=f"add {field}")
    return RequestInvalid(
        f"{field}: {what[:1].lower()}{what[1:]}", field=field, what_to_do=f"correct {field}"
    )


# --- leads ----------------------------------------------------------------------------------------

_Said = Annotated[str, Meta(max_length=1000)] | None


class _LeadFields(Struct):
    lead_id: Annotated[str, Meta(max_length=200)] = ""
    external_id: _Said = None
    first_name: _Said = None
    last_name: _Said = None
    phone: _Said = None
    email: _Said = None
    source: _Said = None
    initial_interest: _Said = None
    timezone: _Said = None
    country: _Said = None
    state: _Said = None
    city: _Said = None
    status: Annotated[str, Meta(min_length=1, max_length=100)] = "new"
    current_income_range: _Said = None
    desired_income_range: _Said = None
    time_availability: _Said = None
    experience_level: _Said = None


def lead_of(given: dict[str, object], *, field: str) -> Lead:
    """Return the lead; keys that we do not know are kept as they came. Raises `RequestInvalid`."""
    fields = _LeadFields.__struct_fields__
    known = convert({k: v for k, v in given.items() if k in fields}, _LeadFields, field=field)
    extra = {k: v for k, v in given.items() if k not in fields}
    # `GET` shows them as a field of their own
    shown = convert(extra.pop("extra", {}), dict[str, object], field=f"{field}.extra".lstrip("."))
    extra = shown | extra
    return Lead(**msgspec.structs.asdict(known), extra=extra)


# --- lines ----------------------------------------------------------------------------------------


class Transcript(Struct, forbid_unknown_fields=True, kw_only=True):
    """A line of an agent that runs his own recogniser."""

    speaker: Literal["prospect", "agent", "closer"]
    text: Words
    is_final: bool = True
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    # None: now
    at: Zoned | None = None
