"""What goes on beside the calls as long as the service runs: copies kept fresh, stores filled."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Protocol

import structlog

from agent_sidecar.domain.language import texts_to_embed
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import SidecarError
from agent_sidecar.learning.metrics import LearningMetrics
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.warm import PROVEN, WarmCopy
from agent_sidecar.ports import Embedder

if TYPE_CHECKING:
    from agent_sidecar.parts import Parts

log = structlog.get_logger()

# how often the warm copy of the evidence is read anew, and how soon after it could not be
REFRESH_S, RETRY_S = 30.0, 2.0
# answers that worked come one by one: a few minutes more or less do not count
PROVEN_REFRESH_S = 600.0
# How often the learning metrics are brought to what the calls say. A refresh counts all calls, so
# the rest is longer the longer that took: 3 % of a core, however many calls there are.
METRICS_S, METRICS_REST = 10.0, 30.0
# after so long without a question connections, caches and compiled code may have gone
IDLE_S = 5.0
# questions until a graph server has compiled what it runs for them
REHEARSALS = 40


class KeptVectors(Protocol):
    """Where vectors of playbook texts are kept from one start to the next."""

    def read(self) -> Mapping[str, Vector]:
        """Return them by text; nothing when they cannot be used."""
        ...

    def write(self, vectors: Mapping[str, Vector]) -> None:
        """Keep these and no others. Raises OSError."""
        ...


async def keep_warm(
    parts: "Parts", warm: WarmCopy, is_incomplete: Callable[[], bool] = lambda: False
) -> None:
    """Read the evidence into memory now and then, for the moments in which the graph is late.

    While the graph is incomplete, what is remembered is better.
    """

    async def read() -> None:
        if not is_incomplete():
            warm.remember(await parts.stores.evidence.everything(parts.clock.now()))

    await _again_and_again("evidence_not_read", read, every_s=REFRESH_S)


async def keep_proven(
    parts: "Parts", warm: WarmCopy, is_incomplete: Callable[[], bool] = lambda: False
) -> None:
    """Read the newest answers that worked, for the moments in which the vectors are late."""

    async def read() -> None:
        if not is_incomplete():
            warm.remember_proven(await parts.stores.candidates.proven(most=PROVEN))

    await _again_and_again("proven_lines_not_read", read, every_s=PROVEN_REFRESH_S)


async def keep_metrics(
    learning: LearningMetrics, is_incomplete: Callable[[], bool] = lambda: False
) -> None:
    """Keep the daily learning metrics; while the calls are incomplete, their rows are better."""

    async def refresh() -> None:
        if is_incomplete():
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        changed = await learning.refresh()
        if changed:
            log.debug("learning_metrics_kept", days=changed)
        await asyncio.sleep(METRICS_REST * (loop.time() - began))

    await _again_and_again("learning_metrics_not_kept", refresh, every_s=METRICS_S)


async def keep_ready(desk: HintDesk) -> None:
    """Ask as calls do whenever none does: the first question is answered as fast as the tenth."""
    for number in count():
        if number >= REHEARSALS:
            await asyncio.sleep(IDLE_S)
        # words that were not said just before, or the embedder would remember their vector
        text = f"rehearsal {number}: how much is it, and why should I trust you?"
        await desk.rehearse(text, unless_asked_for_s=IDLE_S if number >= REHEARSALS else 0.0)


async def index_playbook(parts: "Parts") -> None:
    """Keep the playbook's texts in the vector store."""
    await _until_taken(
        "playbook_not_indexed", lambda: parts.stores.index.load(parts.playbook, parts.vectors)
    )


async def load_closers(parts: "Parts") -> None:
    """Keep the playbook's closers where the store has none of its own."""
    await _until_taken("closers_not_stored", lambda: parts.closers.load(parts.playbook.closers))


async def playbook_vectors(
    embedder: Embedder, playbook: Playbook, kept: KeptVectors, *, keep: bool = True
) -> Mapping[str, Vector]:
    """Return the vector of every text of the playbook; only texts without one are embedded.

    `keep`: what is kept from now on is this playbook's; without, nothing is written.
    """
    texts = texts_to_embed(playbook)
    before = await asyncio.to_thread(kept.read)
    new = [text for text in texts if text not in before]
    vectors = {text: before[text] for text in texts if text in before}
    if new:
        vectors |= zip(new, await embedder.embed(new), strict=True)
    gone = len(before.keys() - vectors.keys())
    if keep and (new or gone):
        try:
            await asyncio.to_thread(kept.write, vectors)
        except OSError as exc:
            # the next start embeds them again
            log.warning("playbook_vectors_not_kept", error=str(exc))
    if keep:
        log.info("playbook_embedded", texts=len(texts), embedded=len(new), forgotten=gone)
    return vectors


async def _again_and_again(
    name: str, read: Callable[[], Awaitable[None]], *, every_s: float
) -> None:
    while True:
        try:
            await read()
            pause_s = every_s
        except SidecarError as exc:
            log.warning(name, error=str(exc))
            pause_s = RETRY_S
        await asyncio.sleep(pause_s)


async def _until_taken(name: str, store: Callable[[], Awaitable[None]]) -> None:
    """Try until the store takes it, less and less often."""
    pause_s = 1.0
    while True:
        try:
            await store()
        except SidecarError as exc:
            log.warning(name, error=str(exc), again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(60.0, 2 * pause_s)
        else:
            return
