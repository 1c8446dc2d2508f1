"""Time zones by their IANA names."""

from zoneinfo import ZoneInfo


def zone_named(name: str) -> ZoneInfo | None:
    """Return the zone of that name; None: there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # also what is no name at all: "", "../etc/passwd", the name of a folder
        return None
