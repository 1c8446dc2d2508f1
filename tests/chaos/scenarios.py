"""The ways in which it is broken, by name."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.board import Board, Row
from tests.chaos.clocks import faked_clock, jump, jump_out_of_the_tolerance, set_clock
from tests.chaos.disks import (
    Ceiling,
    fill_the_data_folder,
    fill_the_stores,
    mount_all,
    start_on_a_full_disk,
)
from tests.chaos.kills import kill_the_service
from tests.chaos.servers import kill_the_servers
from tests.chaos.stores import fault_the_stores
from tests.chaos.world import Options, Skipped, open_world

Run = Callable[[Options, Path, Board, Row], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way."""

    about: str
    run: Run


async def _kills(options: Options, folder: Path, board: Board, row: Row) -> None:
    async with open_world(options, folder, board, row) as world:
        await kill_the_service(world, options.kills)


async def _servers(options: Options, folder: Path, board: Board, row: Row) -> None:
    async with open_world(options, folder, board, row, own_servers=True) as world:
        await kill_the_servers(world)


async def _stores(options: Options, folder: Path, board: Board, row: Row) -> None:
    async with open_world(options, folder, board, row) as world:
        await fault_the_stores(world)


async def _disks(options: Options, folder: Path, board: Board, row: Row) -> None:
    with ExitStack() as exits:
        try:
            disks = mount_all(folder, exits)
        except Skipped as exc:
            # without that right no file may grow, which is the same to the journal
            row.remarks.append(f"only the journal: {exc}")
            exits.close()
            async with open_world(options, folder, board, row) as world:
                await fill_the_data_folder(world, Ceiling(world))
            return
        async with open_world(options, folder, board, row) as world:
            if options.wants("disks:data"):
                await fill_the_data_folder(world, disks["data"])
            if options.wants("disks:start"):
                await start_on_a_full_disk(world, disks["data"])
            if options.wants("disks:stores"):
                await fill_the_stores(world, disks)


async def _clocks(options: Options, folder: Path, board: Board, row: Row) -> None:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # nothing runs yet
    shift = folder / "shift"
    faked = faked_clock(shift)
    wide = {"WEBHOOK_TOLERANCE_S": "180000"}
    if options.wants("clocks:jumps"):
        place = folder / "wide"
        async with open_world(options, place, board, row, cold=faked, settings=wide) as world:
            await jump(world, shift)
    if options.wants("clocks:signatures"):
        set_clock(shift, 0)
        async with open_world(options, folder / "narrow", board, row, cold=faked) as world:
            await jump_out_of_the_tolerance(world, shift)


SCENARIOS = {
    "kills": Scenario(about="kill -9 of the service at random moments under load", run=_kills),
    "servers": Scenario(about="kill -9 of each embedded server, and of everything", run=_servers),
    "stores": Scenario(
        about="each store refuses, hangs, is stopped, slow, late, restarted", run=_stores
    ),
    "disks": Scenario(about="full disks: the data folder's, and each server's", run=_disks),
    "clocks": Scenario(about="jumps of an hour and a day, both ways", run=_clocks),
}
