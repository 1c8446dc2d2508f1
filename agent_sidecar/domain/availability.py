"""When a closer works: his weekly hours, in his own zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

from agent_sidecar.domain.playbook import Closer, Window


def is_within_hours(closer: Closer, at: datetime) -> bool:
    """Is this moment inside one of his windows? Without windows every moment is.

    Windows are read off the clock on his wall: an hour that the change to summer time skips is
    never inside, one that the change back repeats is inside twice. Raises ValueError for a
    timezone that does not exist.
    """
    if not closer.hours:
        return True
    local = at.astimezone(_zone(closer))
    return any(_covers(window, local) for window in closer.hours)


def _covers(window: Window, local: datetime) -> bool:
    today = local.isoweekday() % 7
    now = local.time()
    if window.start < window.end:
        return window.day_of_week == today and window.start <= now < window.end
    begins_today = window.day_of_week == today and now >= window.start
    began_yesterday = (window.day_of_week + 1) % 7 == today and now < window.end
    return begins_today or began_yesterday


def _zone(closer: Closer) -> ZoneInfo:
    try:
        return ZoneInfo(closer.timezone)
    except (KeyError, ValueError, OSError):
        # also what is no name at all: "", "../etc/passwd", the name of a folder
        raise ValueError(
            f"the timezone {closer.timezone!r} of {closer.name} does not exist;"
            " give an IANA name such as America/New_York"
        ) from None
