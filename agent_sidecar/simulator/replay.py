"""Replays many recorded calls at once, listens to what the service says, follows each record home.

The report is the service's own account, read through its front door: hints and scores from the
hints socket, deliveries from the call, the comparison of all stores from `verify`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import STORES
from agent_sidecar.errors import CallUnknown, ServiceUnreachable, SidecarError
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import CallView, FrontDoor
from agent_sidecar.simulator.player import CallPlayer, PlayedCall, PlayRules
from agent_sidecar.simulator.progress import (
    HeardCall,
    MessageHeard,
    PlayEnded,
    PlayStarted,
    Progress,
    ReplayedCall,
    ReplayReport,
    StoresReached,
    VerifyStarted,
)
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.subscriber import HintSubscriber

_POLL_S = 0.25
_FINAL = frozenset({"delivered", "parked", "dropped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    play: PlayRules = field(default_factory=PlayRules)
    # calls at the same time
    concurrency: int = 50
    # how long a finished call's record may take to reach its stores, wall seconds
    stores_s: float = 120.0
    # how long the service may take to let us listen
    open_s: float = 30.0
    signer: WebhookSigner = field(default_factory=WebhookSigner.generate)
    control: ControlStub | None = None


async def replay(
    calls: Iterable[RecordedCall],
    front_door: FrontDoor,
    rules: ReplayRules,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ReplayReport:
    """Play all calls; the report has them in the file's order.

    Raises `ServiceUnreachable` or `ServiceRefused` when nothing can be played at all, and what
    `calls` itself raises.
    """
    run = _Replay(front_door, rules, on_progress)
    return await run.play_all(calls)


class _Replay:
    def __init__(
        self, front_door: FrontDoor, rules: ReplayRules, on_progress: Callable[[Progress], None]
    ) -> None:
        self._front_door = front_door
        self._rules = rules
        self._on_progress = on_progress
        self._heard: dict[str, HeardCall] = {}
        # both by leg: known before the service has given the call an id
        self._file_ids: dict[str, str] = {}

    async def play_all(self, calls: Iterable[RecordedCall]) -> ReplayReport:
        subscriber = HintSubscriber(self._front_door, self._hear)
        listening = asyncio.create_task(subscriber.run(), name="hints")
        try:
            await self._open(subscriber, listening)
            rows = await self._play_bounded(calls)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        return await self._verified(rows)

    async def _open(self, subscriber: HintSubscriber, listening: "asyncio.Task[None]") -> None:
        opened = asyncio.create_task(subscriber.open.wait(), name="hints:open")
        done, _ = await asyncio.wait(
            (opened, listening),
            timeout=self._rules.open_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        opened.cancel()
        if listening in done:
            listening.result()
        if opened not in done:
            raise ServiceUnreachable(
                f"{self._front_door.hints_url} does not answer: start the service with"
                " `agent-sidecar serve`, or let the replay start one"
            )

    async def _play_bounded(self, calls: Iterable[RecordedCall]) -> list[ReplayedCall]:
        """Take the next call from the file only when one may start: files may be long."""
        free = asyncio.Semaphore(self._rules.concurrency)
        playing: list[asyncio.Task[ReplayedCall]] = []
        async with asyncio.TaskGroup() as tasks:
            for recorded in calls:
                await free.acquire()
                task = tasks.create_task(self._play(recorded), name=f"play:{recorded.call_id}")
                task.add_done_callback(lambda _: free.release())
                playing.append(task)
        return [task.result() for task in playing]

    async def _play(self, recorded: RecordedCall) -> ReplayedCall:
        player = CallPlayer(
            recorded,
            self._front_door,
            self._rules.signer,
            self._rules.play,
            control=self._rules.control,
        )
        leg_id, file_id = player.played.leg_id, recorded.call_id
        self._file_ids[leg_id] = file_id
        heard = self._heard[leg_id] = HeardCall()
        started = PlayStarted(
            file_id=file_id, segments=len(recorded.segments), duration_s=recorded.duration_s
        )
        self._on_progress(started)
        played = await player.play()
        self._on_progress(PlayEnded(file_id=file_id, error=played.error))
        view = await self._follow(played, file_id)
        return _row(played, heard, view)

    def _hear(self, message: Mapping[str, Any]) -> None:
        leg_id = str(message.get("call_control_id"))
        heard = self._heard.get(leg_id)
        if heard is not None:
            heard.hear(message)
            self._on_progress(MessageHeard(file_id=self._file_ids[leg_id], message=message))

    async def _follow(self, played: PlayedCall, file_id: str) -> CallView | None:
        """Ask until every store has taken or parked the record, or time is up."""
        if played.call_id is None:
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._rules.stores_s
        view: CallView | None = None
        while True:
            try:
                seen = await self._front_door.call(played.call_id)
            except (ServiceUnreachable, CallUnknown) as exc:
                trouble: str | None = str(exc)
            else:
                trouble = None
                if view is None or seen.stores != view.stores:
                    self._on_progress(StoresReached(file_id=file_id, stores=seen.stores))
                view = seen
                if all(seen.stores.get(store) in _FINAL for store in STORES):
                    return view
            if loop.time() >= deadline:
                played.error = played.error or trouble or _waiting(view, self._rules.stores_s)
                return view
            await asyncio.sleep(_POLL_S)

    async def _verified(self, rows: list[ReplayedCall]) -> ReplayReport:
        self._on_progress(VerifyStarted())
        try:
            found = await self._front_door.verify()
        except SidecarError as exc:
            return ReplayReport(calls=tuple(rows), verify_error=str(exc))
        differences = tuple(found.differences)
        if not found.clean and not differences:
            differences = tuple(found.summary) or ("the service says: not clean",)
        return ReplayReport(calls=tuple(rows), differences=differences if not found.clean else ())


def _waiting(view: CallView | None, stores_s: float) -> str:
    stores = view.stores if view else {}
    late = [store for store in STORES if stores.get(store) not in _FINAL]
    return f"not in {', '.join(late)} within {stores_s:g} s after the hangup"


def _row(played: PlayedCall, heard: HeardCall, view: CallView | None) -> ReplayedCall:
    latencies_ms = heard.latencies_ms
    return ReplayedCall(
        call_id=played.file_id,
        sidecar_call_id=played.call_id,
        segments=played.lines_sent,
        acknowledged=played.acknowledged,
        hints=len(heard.hints),
        score_start=heard.scores[0] if heard.scores else None,
        score_end=heard.scores[-1] if heard.scores else None,
        hint_p50_ms=heard.p50_ms,
        hint_max_ms=latencies_ms[-1] if latencies_ms else None,
        outcome=view.status if view else None,
        stores=view.stores if view else {},
        refused=played.refused,
        lost=played.lost,
        retries=played.retries,
        frames=played.frames_sent,
        stream=played.stream,
        error=played.error,
    )
