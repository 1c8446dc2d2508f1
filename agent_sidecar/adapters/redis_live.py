"""Live state that all processes share: closers, cached values, the call directory, hints out.

Everything here may be lost without harm: leases and entries end by themselves, schedules are kept
elsewhere, messages are for whoever listens now.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Self, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from agent_sidecar.domain.availability import Hold, Schedule, Seen, Step
from agent_sidecar.domain.types import CallId, TransferId
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.telemetry import ResponseTimes

log = structlog.get_logger()

T = TypeVar("T")

# All are atomic on the server. A lease is "STEP TRANSFER_ID". Asked for again by its holder it is
# prolonged, so that one whose answer was lost can simply be asked for again; not while he wraps up:
# then this transfer is over, and a prolonging that was on its way must not bring it back.
LEASE = """
local held = redis.call('GET', KEYS[1])
local step = ARGV[3]
if held then
  local held_step, holder = string.match(held, '^(%S+) (.+)$')
  if holder ~= ARGV[1] or held_step == 'wrapping_up' then return 0 end
  if step == '' then step = held_step end
elseif step == '' then
  step = 'leased'
end
redis.call('SET', KEYS[1], step .. ' ' .. ARGV[1], 'PX', ARGV[2])
return 1
"""
# Whoever has talked wraps up; whoever wraps up goes on with that, however often he is released.
RELEASE = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local step, holder = string.match(held, '^(%S+) (.+)$')
if holder ~= ARGV[1] or step == 'wrapping_up' then return 0 end
if (step == 'on_call' or ARGV[2] == 'on_call') and tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], 'wrapping_up ' .. ARGV[1], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[1])
end
return 1
"""
# for each closer his lease, how long it lasts, and his schedule
SEEN = """
local seen = {}
for i = 1, #KEYS, 2 do
  local schedule = redis.call('HGET', KEYS[i + 1], 'schedule')
  seen[#seen + 1] = {redis.call('GET', KEYS[i]), redis.call('PTTL', KEYS[i]), schedule}
end
return seen
"""
# a schedule that was read before a change must not replace the one that was read after it
TELL = """
local known = redis.call('HGET', KEYS[1], 'revision')
if known and tonumber(known) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'schedule', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
DELETE_IF_MINE = """
local deleted = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then deleted = deleted + redis.call('DEL', key) end
end
return deleted
"""

_PREFIX = "agent_sidecar"
_CONNECTIONS = 20
# One command, with connecting; a live call waits for it.
_ANSWER_S = 1.0
# Messages that wait for a server that is slow, and how many are sent at once.
_WAITING, _TOGETHER = 1000, 100
# After a failed send; what comes meanwhile pushes out the oldest.
_PAUSE_S = 1.0


class RedisLive:
    """One pool of connections and one task that publishes; made inside the loop it lives in."""

    def __init__(self, redis: Redis, address: str, *, times: ResponseTimes | None = None) -> None:
        self._redis = redis
        self._times = times or ResponseTimes()
        self._address = address
        self._lease = redis.register_script(LEASE)
        self._release = redis.register_script(RELEASE)
        self._seen = redis.register_script(SEEN)
        self._tell = redis.register_script(TELL)
        self._delete_if_mine = redis.register_script(DELETE_IF_MINE)
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=_WAITING)
        self._arrived = asyncio.Event()
        self._publishing = asyncio.create_task(self._publish_all(), name="redis:publish")

    @classmethod
    async def open(cls, url: str, *, times: ResponseTimes | None = None) -> Self:
        """Make the pool; it connects when first asked, so a server that is down is no error."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_S,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            # One more try finds out that a pooled connection is old and the server is back.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        parts = urlsplit(url)
        return cls(Redis.from_pool(pool), parts.hostname or parts.path, times=times)

    async def aclose(self) -> None:
        """Send what still waits, for a moment, then close."""
        self._publishing.cancel()
        await asyncio.gather(self._publishing, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._send_waiting()
        await self._redis.aclose()

    async def ping(self) -> None:
        """Really ask the server. Raises `StoreUnavailable`."""
        await self._ask(self._redis.ping())

    # --- closers ---

    async def lease(
        self, name: str, transfer_id: TransferId, ttl_s: float, step: Step | None = None
    ) -> bool:
        """Take or prolong the lease, at that step (None: as it is); False: it is not to be had.

        Raises `StoreUnavailable`.
        """
        args: list[str | int] = [transfer_id, _ms(ttl_s), step or ""]
        return bool(await self._ask(self._lease(keys=[_key("lease", name)], args=args)))

    async def release(
        self,
        name: str,
        transfer_id: TransferId,
        *,
        step: Step | None = None,
        wrap_up_s: float = 0.0,
    ) -> None:
        """End the lease if this transfer still holds it; after a talk, once he has wrapped up.

        `step` is what the holder knows, should it not have been told. Raises `StoreUnavailable`.
        """
        args: list[str | int] = [transfer_id, step or "", round(wrap_up_s * 1000)]
        await self._ask(self._release(keys=[_key("lease", name)], args=args))

    async def seen(self, names: Sequence[str]) -> Sequence[Seen]:
        """Return what is known of each closer, at one moment. Raises `StoreUnavailable`."""
        keys = [key for name in names for key in (_key("lease", name), _key("schedule", name))]
        rows = await self._ask(self._seen(keys=keys, args=[]))
        return [Seen(hold=_hold(held, left), schedule=_schedule(kept)) for held, left, kept in rows]

    async def tell(self, schedule: Schedule, ttl_s: float) -> None:
        """Let all processes know it, unless they know a newer one. Raises `StoreUnavailable`."""
        args: list[bytes | int] = [
            schedule.revision,
            msgspec.json.encode(schedule),
            _ms(ttl_s),
        ]
        key = _key("schedule", schedule.closer.name)
        await self._ask(self._tell(keys=[key], args=args))

    # --- cached values ---

    async def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for all processes until it is too old. Raises `StoreUnavailable`."""
        await self._ask(self._redis.set(_key("cache", name), value, px=_ms(ttl_s)))

    async def get(self, name: str) -> bytes | None:
        """Return a value that is not too old. Raises `StoreUnavailable`."""
        return await self._read(_key("cache", name))

    # --- the call directory ---

    async def enter(self, names: Sequence[str], owner: str, ttl_s: float) -> None:
        """Say which process owns a call; `names` are its id and its legs'."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(_key("call", name), owner, px=_ms(ttl_s))
            await self._ask(pipeline.execute())

    async def remove(self, names: Sequence[str], owner: str) -> None:
        """Take out what this owner still has."""
        keys = [_key("call", name) for name in names]
        await self._ask(self._delete_if_mine(keys=keys, args=[owner]))

    async def owner(self, name: str) -> str | None:
        """Return which process owns the call with that id or leg."""
        found = await self._read(_key("call", name))
        return None if found is None else found.decode()

    # --- hints out ---

    def publish(self, channel: str, payload: bytes) -> None:
        """Send to whoever listens now; never blocks, and drops the oldest of too many."""
        self._waiting.append((channel, payload))
        self._arrived.set()

    def publish_message(self, call_id: CallId, message: Mapping[str, object]) -> None:
        """Publish as JSON on the call's own channel, `agent_sidecar:hints:CALL_ID`."""
        self.publish(_key("hints", call_id), msgspec.json.encode(message, enc_hook=str))

    async def _publish_all(self) -> None:
        failed = False
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._send_waiting()
                failed = False
            except StoreUnavailable as exc:
                if not failed:
                    log.warning(
                        "hint_channel_down",
                        error=str(exc),
                        todo="hints still reach the sockets; see that the server runs",
                    )
                failed = True
                await asyncio.sleep(_PAUSE_S)
                if self._waiting:
                    self._arrived.set()

    async def _send_waiting(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for channel, payload in group:
                    pipeline.publish(channel, payload)
                # those that were on their way are lost: sent twice would be worse than not at all
                await self._ask(pipeline.execute())

    async def _read(self, key: str) -> bytes | None:
        # the pool decodes nothing
        return cast("bytes | None", await self._ask(self._redis.get(key)))

    async def _ask(self, answer: Awaitable[T]) -> T:
        deadline = asyncio.get_running_loop().time() + _ANSWER_S
        try:
            async with asyncio.timeout_at(deadline):
                with self._times.measured():
                    return await answer
        except TimeoutError as exc:
            raise self._unavailable(f"no answer within {_ANSWER_S:g} s") from exc
        except (RedisError, OSError) as exc:
            raise self._unavailable(str(exc)) from exc

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"redis at {self._address}: {reason}; see that the server runs and that"
            " SIDECAR_REDIS_URL names it"
        )


def _hold(held: bytes | None, left_ms: int) -> Hold | None:
    if held is None:
        return None
    step, _, transfer_id = held.decode().partition(" ")
    if not transfer_id:
        # of a version of ours that told no steps
        step, transfer_id = "leased", step
    return Hold(
        transfer_id=TransferId(transfer_id),
        step=cast(Step, step),
        left_s=max(0, left_ms) / 1000,
    )


def _schedule(kept: bytes | None) -> Schedule | None:
    if kept is None:
        return None
    try:
        return msgspec.json.decode(kept, type=Schedule)
    except msgspec.DecodeError:
        # of another version of ours; the store has it
        return None


def _key(kind: str, name: str) -> str:
    return f"{_PREFIX}:{kind}:{name}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
