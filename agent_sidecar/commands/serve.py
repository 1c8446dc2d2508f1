"""`serve`: the service for real use, until it is told to stop."""

import argparse
import asyncio
import gc
import os
import signal

import structlog
import uvloop

from agent_sidecar.app import open_service
from agent_sidecar.commands.running import announce, withdraw
from agent_sidecar.commands.terminal import complain
from agent_sidecar.errors import SidecarError
from agent_sidecar.settings import Settings
from agent_sidecar.telemetry import set_up_logging

log = structlog.get_logger()

# a data folder whose disk is full is tried again so soon
ANNOUNCE_AGAIN_S = 1.0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; a second one hurries."""
    del arguments
    set_up_logging(settings.log_level, settings.log_format)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_run_service(settings, stop), name="service")
    signals = 0

    def told_to_stop() -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            complain("stopping: finishing calls that hung up, delivering (again to hurry)")
            stop.set()
        elif signals == 2:  # a third must not break off the clean-up of the second
            complain("hurrying: what is not delivered stays in the journal")
            serving.cancel("told twice to stop")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    try:
        await serving
    except asyncio.CancelledError:
        return 130
    except BaseExceptionGroup as failures:
        raise _first(failures) from failures
    return 0


async def _run_service(settings: Settings, stop: asyncio.Event) -> None:
    async with open_service(settings) as service:
        # what was imported stays: looking through it takes 0.35 s, in which no call is heard
        gc.collect()
        gc.freeze()
        announcing = asyncio.create_task(_announce(settings, service.port), name="announce")
        log.info(
            "service_ready",
            url=f"http://{settings.host}:{service.port}",
            data_dir=str(settings.data_dir),
            pid=os.getpid(),
            signed_webhooks=settings.telnyx_public_key is not None,
        )
        try:
            await stop.wait()
        finally:
            announcing.cancel()
            withdraw(settings)
    log.info("service_stopped")


async def _announce(settings: Settings, port: int) -> None:
    """Say where we are, as soon as the disk has room for it: calls are served without."""
    while True:
        try:
            announce(settings, port)
        except OSError as exc:
            log.error(  # noqa: TRY400  # what it means is all there is to say
                "service_not_announced",
                error=str(exc),
                what_to_do="make room on the data folder's disk: until then no command finds this"
                " service, and calls are not acknowledged",
            )
            await asyncio.sleep(ANNOUNCE_AGAIN_S)
        else:
            return


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error a person should read: ours if there is one."""
    ours = failures.subgroup(SidecarError)
    found: BaseException = ours or failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
