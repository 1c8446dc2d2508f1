"""Who may still come in: live calls are never dragged down by new ones."""

from collections.abc import Callable

from agent_sidecar.errors import Overloaded

# a new call is refused at so many times the lag that makes it text-only
REFUSED_AT = 4.0


class Admission:
    """Decides by how late the event loop is, milliseconds."""

    def __init__(self, lag_ms: Callable[[], float], limit_ms: float) -> None:
        self._lag_ms = lag_ms
        self._limit_ms = limit_ms

    def admit(self) -> str | None:
        """Let a new call in; return why without its audio, if so. Raises `Overloaded`."""
        lag_ms = self._lag_ms()
        if lag_ms > REFUSED_AT * self._limit_ms:
            raise Overloaded(
                f"the event loop is {lag_ms:.0f} ms late: no new call until it is below"
                f" {REFUSED_AT * self._limit_ms:.0f} ms; attach later, or run another service"
            )
        if lag_ms > self._limit_ms:
            return f"the event loop is {lag_ms:.0f} ms late: this call is heard by its text only"
        return None
