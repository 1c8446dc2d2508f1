"""A small playbook whose texts lie on axes of their own, so that closeness can be chosen."""

from datetime import UTC, datetime, timedelta

import numpy as np

from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.playbook import (
    PHASES,
    Closer,
    Objection,
    Phase,
    Playbook,
    Strategy,
    Thresholds,
)
from agent_sidecar.domain.types import ObjectionType, StrategyName, Vector

STARTED_AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
REFRAME, STORY, VIDEO, BOOK = (StrategyName(n) for n in ("reframe", "story", "video", "book"))
MONEY, TRUST, NEVER = (ObjectionType(t) for t in ("money", "trust", "do-not-call"))


def at(seconds: float) -> datetime:
    """Return a time of the conversation."""
    return STARTED_AT + timedelta(seconds=seconds)


def a_playbook(**changes: object) -> Playbook:
    """Return a playbook without mistakes; `changes` replace its parts."""
    parts: dict[str, object] = {
        "name": "small",
        "phases": tuple(
            Phase(
                number=number,
                name=f"phase-{number}",
                goal="g",
                cues=(f"cue {number}",),
                allows_transfer=number >= 10,
            )
            for number in range(1, PHASES + 1)
        ),
        "strategies": (
            Strategy(
                name=REFRAME,
                when="when reframe",
                say=("say reframe", "or reframe"),
                objections=(MONEY,),
                phases=(1, 9),
            ),
            Strategy(name=STORY, when="when story", say=("say story",), objections=(TRUST,)),
            Strategy(name=VIDEO, when="when video", say=("say video",), ends_with="video"),
            Strategy(name=BOOK, when="when book", say=("say book",), ends_with="booking"),
        ),
        "objections": (
            Objection(type=MONEY, wordings=("costs much",), triggers=("too expensive",)),
            Objection(type=TRUST, wordings=("is it real",)),
            Objection(
                type=NEVER, wordings=("leave me",), triggers=("do not call",), is_refusal=True
            ),
        ),
        "closers": (Closer(name="Kevin"),),
        "buying_signals": ("how do i start",),
        "second_best": (VIDEO, BOOK),
        "thresholds": Thresholds(),
    }
    return Playbook(**(parts | changes))  # type: ignore[arg-type]  # tests name real fields


PLAYBOOK = a_playbook()
TEXTS = texts_to_embed(PLAYBOOK)
DIMENSION = len(TEXTS) + 1
# every text has an axis of its own; the last axis is about nothing
NOTHING: Vector = np.eye(DIMENSION, dtype=np.float32)[-1]
VECTORS = dict(zip(TEXTS, np.eye(DIMENSION, dtype=np.float32), strict=False))


def like(text: str, closeness: float = 1.0) -> Vector:
    """Return a vector of unit length with that cosine to a text of the playbook."""
    rest = np.sqrt(1.0 - closeness * closeness)
    return np.asarray(closeness * VECTORS[text] + rest * NOTHING, np.float32)


def reader(playbook: Playbook = PLAYBOOK) -> Reader:
    return Reader(playbook, VECTORS)
