"""Compare what a store holds with what a record says it should, and name what differs."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isclose

_MISSING = "nothing"


def property_differences(
    expected: Mapping[str, object], found: Mapping[str, object]
) -> Iterator[str]:
    """Yield one sentence per property that differs; None and a missing property are the same."""
    for name in sorted(expected.keys() | found.keys()):
        wanted, stored = expected.get(name), found.get(name)
        if not _same(wanted, stored):
            yield f"{name} is {_shown(stored)} instead of {_shown(wanted)}"


def _same(wanted: object, stored: object) -> bool:
    if isinstance(wanted, bool) or isinstance(stored, bool):
        return wanted is stored
    if isinstance(wanted, int | float) and isinstance(stored, int | float):
        # a store may keep a float as another float's nearest, or 85.0 as 85
        return isclose(wanted, stored, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(wanted, list) and isinstance(stored, list):
        return len(wanted) == len(stored) and all(map(_same, wanted, stored))
    return wanted == stored


def _shown(value: object) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, datetime):
        return value.isoformat()
    # a transcript or a long list would bury what matters
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
