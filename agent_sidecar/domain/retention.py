"""How long finished calls are kept, by how they ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, get_args

from agent_sidecar.domain.record import CallRecord, FinalStatus

# stands for every outcome that is not named
OTHERS: Final = "*"
_NAMES: Final = (*get_args(FinalStatus), OTHERS)
_LONGEST_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """Days by outcome; an outcome that has no rule is kept for ever."""

    days: Mapping[str, int]

    def __str__(self) -> str:
        """Return them as they are written in the settings."""
        return ",".join(f"{name}={days}" for name, days in self.days.items())

    def is_over(self, record: CallRecord, now: datetime) -> bool:
        """Say whether a call has been kept for as long as it is to be, counted from its end."""
        days = self.days.get(record.outcome.final_status, self.days.get(OTHERS))
        return days is not None and record.ended_at + timedelta(days=days) <= now

    def newest(self, now: datetime) -> datetime:
        """Return when a call must have begun for any rule to be over now."""
        return now - timedelta(days=min(self.days.values()))


def read_rules(text: str) -> RetentionRules:
    """Read “disqualified=30, no_answer=7, *=365”. Raises ValueError that says what is wrong."""
    days: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if name not in _NAMES or not equals:
            raise ValueError(
                f"{part.strip()!r}: write OUTCOME=DAYS, with commas between; outcomes are"
                f" {', '.join(_NAMES)}"
            )
        if name in days:
            raise ValueError(f"{name} is there twice")
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= _LONGEST_DAYS):
            raise ValueError(f"{name}={number}: days must be a whole number from 1 to 36500")
        days[name] = int(number)
    return RetentionRules(days)
