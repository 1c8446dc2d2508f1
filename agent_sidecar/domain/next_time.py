"""The next time: when a prospect agreed to be called again, in his own time zone.

Only what is agreed counts: he asks to be called then (“call me Thursday at three”), or says yes to
the time that the agent names, or names one when asked for it. A time without a day completes the
day that was agreed before it. What nobody can put a date to (“call me later”) is no time.
"""

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo

from agent_sidecar.domain.mood import sentiment
from agent_sidecar.domain.questions import question_count
from agent_sidecar.domain.record import TranscriptSegment
from agent_sidecar.domain.spoken_time import Spoken, completed, resolve, spoken_time
from agent_sidecar.domain.words import NEGATORS, Phrases, plain_words

# he wants to be called ...
_CALL_ME = re.compile(
    r"\b(?:(?:call|ring|phone|try|reach|catch|text) (?:me|us)|(?:call|ring|phone|check) back"
    r"|get back to me|give (?:me|us) a (?:call|ring)|(?:call|talk|try) again)\b",
    re.IGNORECASE,
)
# ... unless this is what he says before it: further away, it is of something else
_NOT_TO = re.compile(
    r"(?:n['\u2019]?t|\bnot|\bnever|\bstop)\W+(?:(?:ever|even|you|please|have to|need to|to)\W+)?$",
    re.IGNORECASE,
)
# an agent who says one of these names a time to talk, or asks for one
_NAMES_A_TIME = Phrases(
    [
        *("call you", "reach you", "ring you", "get back to you", "follow up", "speak", "talk"),
        *("meet", "suit", "suits", "work for you", "works for you", "good for you", "be better"),
        *("is better", "book", "appointment", "schedule", "set up", "good time", "best time"),
        *("find a time", "which day", "what day", "are you free", "free for", "are you available"),
        *("connect again", "zoom", "when is good", "when can we", "when should i", "how about"),
    ]
)
# of an agent who has just been given a day
_WHAT_TIME = Phrases(["what time", "which time", "when"])
_YES = frozenset(
    "yes yeah yep yup sure okay ok fine good great perfect works sounds absolutely definitely "
    "alright right course wonderful deal".split()
)
# a time that does not suit, or that is of something else
_NOT_THEN = Phrases(
    [
        *("can not", "will not", "does not work", "not work", "is bad", "not good", "busy"),
        *("not at", "not on", "not tomorrow", "not today", "do not call", "never call"),
        *("last", "ago", "since", "yesterday", "every", "i worked", "i was", "i got", "i start"),
    ]
)


def agreed_time(segments: Iterable[TranscriptSegment], zone: tzinfo) -> datetime | None:
    """Return when the prospect agreed to be called again, as it was agreed last; None: never."""
    agreed, agreed_at = Spoken(), None
    asked, is_asked = Spoken(), False
    for segment in segments:
        if segment.speaker == "closer" or not segment.text:
            continue
        now = segment.at.astimezone(zone)
        if segment.speaker == "agent":
            is_asked = bool(_NAMES_A_TIME.find(segment.text)) or (
                not agreed.is_empty and bool(_WHAT_TIME.find(segment.text))
            )
            asked = spoken_time(segment.text, now) if is_asked else Spoken()
            continue
        told = _told(segment.text, asked, now, is_asked=is_asked)
        if not told.is_empty:
            agreed, agreed_at = completed(told, agreed), now
        asked, is_asked = Spoken(), False
    return resolve(agreed, agreed_at) if agreed_at is not None else None


def _told(text: str, asked: Spoken, now: datetime, *, is_asked: bool) -> Spoken:
    """Return the time that a line of the prospect agrees to; empty: to none."""
    wants = next(
        (m for m in _CALL_ME.finditer(text) if not _NOT_TO.search(text[: m.start()])), None
    )
    if wants is not None:
        # “I cannot talk now, call me at five”: what he asks for is what follows
        after = spoken_time(text[wants.start() :], now)
        if not after.is_empty:
            return after
    if _NOT_THEN.find(text):
        return Spoken()
    spoken = spoken_time(text, now)
    if not spoken.is_empty:
        return completed(spoken, asked) if is_asked or wants is not None else Spoken()
    return asked if _says_yes(text) else Spoken()


def _says_yes(text: str) -> bool:
    words = plain_words(text)
    if _YES.isdisjoint(words) or not NEGATORS.isdisjoint(words):
        return False
    return sentiment(text) > 0.0 and not question_count(text)
