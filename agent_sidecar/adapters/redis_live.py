"""Live state over Redis: who has which closer, and the hints for other processes."""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

import msgspec
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent_sidecar.domain.types import CallId, TransferId
from agent_sidecar.errors import SettingsInvalid, StoreUnavailable

log = structlog.get_logger()

# every hint and score of every call; also `<CHANNEL>:<call_id>`
CHANNEL = "sidecar:hints"
QUEUE = 1000
ANSWER_S = 1.0
_LEASE = "sidecar:lease:"
# compare and delete in one step: only the holder may release
_RELEASE = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)


class RedisLive:
    """One server's live state; `aclose` it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._release = redis.register_script(_RELEASE)
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=QUEUE)
        self._arrived = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        """Prepare for the server at `url`; nothing is connected before use."""
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=16,
                timeout=ANSWER_S,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=ANSWER_S,
                retry=Retry(NoBackoff(), 1),
                decode_responses=True,
            )
        except ValueError as exc:
            raise SettingsInvalid(f"SIDECAR_REDIS_URL cannot be used: {exc}") from None
        live = cls(Redis(connection_pool=pool))
        live._sender = asyncio.create_task(live._send(), name="redis:hints")
        return live

    async def aclose(self) -> None:
        """Give up what still waits and close the connections."""
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        await self._redis.aclose()
        await self._redis.connection_pool.aclose()

    async def ping(self) -> None:
        """Really ask the server. Raises `StoreUnavailable`."""
        try:
            await self._redis.set("sidecar:ping", "1", px=1000)
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def lease(self, name: str, transfer_id: TransferId, *, ttl_s: float) -> bool:
        """Reserve a closer for one transfer unless somebody has him; again for the same is fine."""
        key = _LEASE + name
        try:
            taken = await self._redis.set(key, transfer_id, nx=True, px=int(ttl_s * 1000))
            return bool(taken) or await self._redis.get(key) == transfer_id
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def release(self, name: str, transfer_id: TransferId) -> bool:
        """End a lease if this transfer holds it; say whether it did."""
        try:
            return bool(await self._release(keys=[_LEASE + name], args=[transfer_id]))
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def holder(self, name: str) -> TransferId | None:
        """Return the transfer that has the closer."""
        try:
            held = await self._redis.get(_LEASE + name)
        except (RedisError, OSError) as exc:
            raise _unavailable(exc) from exc
        return TransferId(str(held)) if held else None

    def publish_message(self, call_id: CallId, message: Mapping[str, object]) -> None:
        """Pass a message on to other processes; never blocks: the oldest gives way."""
        self._waiting.append((call_id, msgspec.json.encode(message)))
        self._arrived.set()

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for call_id, body in batch:
                        pipe.publish(CHANNEL, body)
                        pipe.publish(f"{CHANNEL}:{call_id}", body)
                    await pipe.execute()
            except (RedisError, OSError) as exc:
                log.warning("hints_not_passed_on", messages=len(batch), error=type(exc).__name__)
                await asyncio.sleep(ANSWER_S)


def _unavailable(exc: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"Redis does not answer ({type(exc).__name__}): check SIDECAR_REDIS_URL and the server;"
        " without it no transfer is started"
    )
