"""Sends a Telnyx command with patience of our own, and says what its answers mean together.

A command is sent at most twice, with the same command_id, which Telnyx carries out once: again at
once after a broken connection or a server error, and while the first is still under way when that
takes longer than half a second, as Telnyx advises. What both tries leave open is
`CommandUncertain`: whoever sent it must find out what happened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx
import structlog
import telnyx

from agent_sidecar.errors import CommandRefused, CommandUncertain, LegGone

_log = structlog.get_logger(__name__)

_NO_SUCH_CALL: Final = "90015"
CALL_HAS_ENDED: Final = "90018"
_NOT_FOUND: Final = 404
_REQUEST_TIMEOUT: Final = 408
_TOO_MANY_REQUESTS: Final = 429

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for Telnyx."""

    # then the same command goes out a second time
    second_try_after_s: float = 0.5
    # then nobody knows
    total_s: float = 5.0


class NoAnswer(Exception):
    """Telnyx said yes without what was asked for."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    result: Result


@dataclass(frozen=True, slots=True)
class _Refused:
    error: CommandRefused


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A try whose answer says nothing about the command."""

    why: str
    # False: this try was certainly not carried out
    may_have_run: bool = True
    throttled: bool = False


_Answer = _Done[Result] | _Refused | _Unknown


class Tries:
    """Owns the tries that are under way; `aclose` it."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tries: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Give up what is still under way."""
        for task in self._tries:
            task.cancel("closing")
        await asyncio.gather(*self._tries, return_exceptions=True)

    async def send(self, name: str, send: Callable[[], Awaitable[Result]]) -> Result:
        """Try twice at most. Raises `CommandRefused` or `CommandUncertain`."""
        patience = self._patience
        deadline = asyncio.get_running_loop().time() + patience.total_s
        tries = [self._start(name, send)]
        try:
            await asyncio.wait(tries, timeout=min(patience.second_try_after_s, patience.total_s))
            first = tries[0].result() if tries[0].done() else _Unknown("slow")
            if isinstance(first, _Unknown):
                _log.warning("command_repeated", command=name, why=first.why)
                if first.throttled:
                    await asyncio.sleep(patience.second_try_after_s)
                tries.append(self._start(name, send))
                await _settle(tries, deadline=deadline)
            late = _Unknown(f"no answer within {patience.total_s:g} s")
            return _verdict(name, [task.result() if task.done() else late for task in tries])
        finally:
            for task in tries:
                task.cancel()

    def _start(
        self, name: str, send: Callable[[], Awaitable[Result]]
    ) -> asyncio.Task[_Answer[Result]]:
        task = asyncio.create_task(_try(name, send), name=f"telnyx:{name}")
        # a try that lost is cancelled and dies here, on its own time
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)
        return task


@contextmanager
def counts_as_done(code: str) -> Iterator[None]:
    """Take a refusal for this reason as success."""
    try:
        yield
    except telnyx.APIStatusError as exc:
        if _first_error(exc).get("code") != code:
            raise


async def _try(name: str, send: Callable[[], Awaitable[Result]]) -> _Answer[Result]:
    try:
        return _Done(await send())
    except telnyx.APIStatusError as exc:
        status = exc.status_code
        if status == _TOO_MANY_REQUESTS:
            return _Unknown("HTTP 429: too many requests", may_have_run=False, throttled=True)
        if status >= 500 or status == _REQUEST_TIMEOUT:
            return _Unknown(f"HTTP {status}")
        return _Refused(_refusal(name, exc))
    except telnyx.APIConnectionError as exc:
        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
        return _Unknown(
            f"{exc.message} {exc.__cause__ or ''}".strip(),
            may_have_run=not isinstance(exc.__cause__, unsent),
        )
    except (telnyx.APIError, NoAnswer, AttributeError) as exc:
        # the SDK passes on answers that are not of its schema: fields are missing then
        return _Unknown(f"unreadable answer: {exc}")


async def _settle(tries: Sequence[asyncio.Task[_Answer[Result]]], *, deadline: float) -> None:
    """Return once one try is done for good, all have answered, or at the deadline."""
    loop = asyncio.get_running_loop()
    running = {task for task in tries if not task.done()}
    while running and (budget_s := deadline - loop.time()) > 0:
        answered, running = await asyncio.wait(
            running, timeout=budget_s, return_when=asyncio.FIRST_COMPLETED
        )
        if any(isinstance(task.result(), _Done) for task in answered):
            return


def _verdict(name: str, answers: Sequence[_Answer[Result]]) -> Result:
    refused: CommandRefused | None = None
    is_open = False
    doubts: list[str] = []
    for answer in answers:
        match answer:
            case _Done():
                return answer.result
            case _Refused():
                refused = answer.error
            case _Unknown():
                doubts.append(answer.why)
                is_open = is_open or answer.may_have_run
    # a repetition may be refused BECAUSE the first try, unanswered, was carried out
    if refused is not None and not is_open:
        raise refused
    if refused is not None:
        doubts.append(str(refused))
    if not is_open:
        raise CommandRefused(f"{name} was never carried out: {'; '.join(doubts)}")
    raise CommandUncertain(f"nobody knows whether {name} was carried out: {'; '.join(doubts)}")


def _refusal(name: str, exc: telnyx.APIStatusError) -> CommandRefused:
    error = _first_error(exc)
    code = error.get("code")
    words = ": ".join(error[key] for key in ("title", "detail") if key in error)
    advice = " (check SIDECAR_TELNYX_API_KEY)" if exc.status_code in {401, 403} else ""
    text = f"Telnyx refused {name}, HTTP {exc.status_code}: {words or 'no reason given'}{advice}"
    if code in {CALL_HAS_ENDED, _NO_SUCH_CALL} or exc.status_code == _NOT_FOUND:
        return LegGone(text, code=code, has_ended=code == CALL_HAS_ENDED)
    return CommandRefused(text, code=code)


def _first_error(exc: telnyx.APIStatusError) -> Mapping[str, str]:
    match exc.body:
        case {"errors": [dict() as error, *_]}:
            return {str(key): str(value) for key, value in error.items()}
        case _:
            return {}
