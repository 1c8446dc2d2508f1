"""What goes on beside the calls as long as the service runs: copies kept fresh, stores filled."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from agent_sidecar.domain.language import texts_to_embed
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import SidecarError
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.ports import Embedder

if TYPE_CHECKING:
    from agent_sidecar.app import Parts

log = structlog.get_logger()

# how often the warm copy of the evidence is read anew
REFRESH_S = 30.0


async def keep_warm(parts: "Parts", warm: WarmCopy) -> None:
    """Read the evidence into memory now and then, for the moments in which the graph is late."""
    while True:
        try:
            warm.remember(await parts.stores.evidence.everything(parts.clock.now()))
        except SidecarError as exc:
            log.warning("evidence_not_read", error=str(exc))
        await asyncio.sleep(REFRESH_S)


async def index_playbook(parts: "Parts") -> None:
    """Keep the playbook's texts in the vector store."""
    vectors = await playbook_vectors(parts.embedder, parts.playbook)
    await _until_taken(
        "playbook_not_indexed", lambda: parts.stores.index.load(parts.playbook, vectors)
    )


async def load_closers(parts: "Parts") -> None:
    """Keep the playbook's closers where the store has none of its own."""
    await _until_taken("closers_not_stored", lambda: parts.closers.load(parts.playbook.closers))


async def playbook_vectors(embedder: Embedder, playbook: Playbook) -> Mapping[str, Vector]:
    """Embed every text of the playbook."""
    texts = texts_to_embed(playbook)
    return dict(zip(texts, await embedder.embed(texts), strict=True))


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
