"""What a closer says of a transfer afterwards: how good the prospect was, and what came of it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

# as the table `transfers` has them
Conversion = Literal["scheduled", "closed", "followup", "declined", "no_show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """A closer's word; None: he has not said it."""

    posted_at: datetime
    # 1 to 10
    rating: int | None = None
    conversion: Conversion | None = None
    notes: str | None = None

    def after(self, earlier: "TransferResult | None") -> "TransferResult":
        """Return all that has been said; what is said again changes nothing, its time included."""
        if earlier is None:
            return self
        whole = replace(
            self,
            rating=earlier.rating if self.rating is None else self.rating,
            conversion=self.conversion or earlier.conversion,
            notes=earlier.notes if self.notes is None else self.notes,
        )
        return earlier if replace(whole, posted_at=earlier.posted_at) == earlier else whole
