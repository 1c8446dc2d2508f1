"""What a call asks of the outside: each answer comes in time, or the call goes on without it."""

import asyncio

import structlog

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import EmbeddingFailed, StoreUnavailable
from agent_sidecar.live.ahead import Ahead
from agent_sidecar.live.call_parts import CallParts

log = structlog.get_logger()

# ranking a hint and putting it on the wire
ANSWER_S = 0.02
LEAD_S = 10.0
CLOSER_S = 1.0


async def embed(parts: CallParts, ahead: Ahead, text: str, *, heard_s: float) -> bytes | None:
    """Return the vector of words that came in at `heard_s` (loop time); None: it was late.

    Later lines wait for it, and so does the hint: it gets half of the hint's time, so that what has
    worked can still be looked up without it.
    """
    latest_s = heard_s + parts.hint_deadline_s / 2
    try:
        async with asyncio.timeout_at(latest_s):
            vector = await ahead.vector(text, deadline=latest_s)
            if vector is None:
                with parts.spare.embedding():
                    [vector] = await parts.embedder.embed([text])
    except (EmbeddingFailed, TimeoutError) as exc:
        log.warning("line_not_embedded", error=repr(exc))
    except Exception:  # every later line of the call waits for this one
        log.exception("line_not_embedded", what_to_do="report this; the line has no vector")
    else:
        return vector.astype("<f4").tobytes()
    return None


async def retrieve(
    parts: CallParts, ahead: Ahead, question: Question, *, heard_s: float
) -> tuple[Retrieved, float] | None:
    """Return what is known, and the milliseconds since the words came in; None: it is too late."""
    latest_s = heard_s + parts.hint_deadline_s
    deadline = min(_now_s() + parts.retrieval_s, latest_s - ANSWER_S)
    retrieved = await ahead.answer(question, deadline=deadline)
    if retrieved is None:
        retrieved = await parts.desk.ask(question, deadline=deadline)
    latency_ms = round((_now_s() - heard_s) * 1000, 2)
    parts.metrics.degraded(retrieved.degraded)
    if _now_s() > latest_s:
        parts.metrics.hint_late()
        log.warning("hint_late", latency_ms=latency_ms)
        return None
    return retrieved, latency_ms


async def find_lead(parts: CallParts, lead: Lead) -> Lead | None:
    """Return the stored lead; None: the relay will make it when the record is delivered."""
    try:
        async with asyncio.timeout(LEAD_S):
            return await parts.leads.find_or_create(lead)
    except (StoreUnavailable, TimeoutError) as exc:
        log.warning("lead_not_found_yet", error=repr(exc))
        return None


async def available_closer(parts: CallParts) -> str | None:
    """Return who could have taken the call; without an answer: nobody."""
    try:
        async with asyncio.timeout(CLOSER_S):
            for name in parts.roster:
                if await parts.closers.is_available(name, parts.clock.now()):
                    return name
    except (StoreUnavailable, TimeoutError) as exc:
        log.warning("closer_not_checked", error=repr(exc))
    return None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
