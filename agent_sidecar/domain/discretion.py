"""What may be kept of the lines of calls, each in the light of those before it.

A card's number often comes in four lines, and its name in the question before: so cards that were
spoken of are remembered for a minute, whoever spoke.
"""

from typing import Final

from agent_sidecar.domain.redaction import Redaction, speaks_of_cards

# so long after cards were spoken of, parts of a number are one's
TALK_S: Final = 60.0
# of how many calls that is remembered
_MOST_CALLS: Final = 4096


class CardTalk:
    """Remembers in which calls cards are spoken of, by anybody."""

    def __init__(self) -> None:
        # until when, seconds
        self._until_s: dict[str, float] = {}

    def goes_on(self, call: str, at_s: float, text: str) -> bool:
        """Take in a line; say whether cards were spoken of in the minute before it."""
        until_s = self._until_s.get(call)
        if speaks_of_cards(text):
            self._until_s.pop(call, None)
            self._until_s[call] = at_s + TALK_S
            if len(self._until_s) > _MOST_CALLS:
                del self._until_s[next(iter(self._until_s))]
        return until_s is not None and at_s <= until_s


class Discretion:
    """Redacts the lines of calls, each in the light of those before it."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._redaction = redaction or Redaction()
        self._talk = CardTalk()

    def __bool__(self) -> bool:
        return bool(self._redaction)

    @property
    def keys(self) -> bool:
        """Keys that are pressed are kept to oneself: one by one they may be a card's number."""
        return "cards" in self._redaction.kinds

    def hear(self, call: str, at_s: float, text: str) -> str:
        """Return what may be kept of a line; `at_s` is any clock that is the same in one call."""
        if not self:
            return text
        return self._redaction.text(text, in_card_talk=self._talk.goes_on(call, at_s, text))

    def read(self, text: str) -> str:
        """Return what may be kept of a text that belongs to no talk."""
        return self._redaction.text(text)
