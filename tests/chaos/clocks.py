"""The wall's clock jumps while calls are up and deliveries back off; the others' clocks are right.

The service is started with libfaketime (Debian: `apt-get install faketime`), which reads the shift
from a file again and again; its monotonic clock stays as it is.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.talks import Talks
from tests.chaos.world import Broken, Skipped, World

_HOUR_S, _DAY_S = 3600, 86400
# one after the other, each from the one before
JUMPS = {
    "+1 h": _HOUR_S,
    "-1 h": 0,
    "-1 h again": -_HOUR_S,
    "+1 day": _DAY_S - _HOUR_S,
    "-1 day": -_HOUR_S,
    "-1 day again": -_DAY_S,
    "back": 0,
}
# until the service sees a new shift
_SEEN_S = 1.5
# a store that is down for this long has deliveries that back off
_DOWN_S = 4.0


def faked_clock(shift: Path) -> Mapping[str, str]:
    """Return the environment of a process whose clock is shifted by what is in the file."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise Skipped("needs libfaketime: apt-get install faketime")
    set_clock(shift, 0)
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def set_clock(shift: Path, seconds: int) -> None:
    """Shift the clock by so much from what it really is."""
    shift.write_text(f"{seconds:+d}")


async def jump(world: World, shift: Path) -> None:
    """Jump while a store is down, and compare after each jump; signatures are not looked at."""
    for name, seconds in JUMPS.items():
        world.call()
        talks = Talks(world)
        talks.begin(at_once=1)
        await asyncio.sleep(2.0)
        await world.doors["neo4j"].shut()
        await asyncio.sleep(_DOWN_S)
        world.blow(f"the clock jumps: {name}")
        set_clock(shift, seconds)
        await asyncio.sleep(_SEEN_S + world.random.uniform(0.0, 2.0))
        await world.doors["neo4j"].heal()
        await talks.end()
        await world.settle(name)
        world.row.faults += talks.faults()


async def jump_out_of_the_tolerance(world: World, shift: Path) -> None:
    """Jump so far that every signature is too old, and back: nothing that was taken is lost."""
    load = world.call()
    load.again_after.add(401)
    await asyncio.sleep(3.0)
    world.blow("the clock is an hour ahead, and signatures are looked at")
    set_clock(shift, _HOUR_S)
    await asyncio.sleep(_SEEN_S + world.options.fault_s)
    refused = sum(n for what, n in load.ledger.answers.items() if what.endswith(" 401"))
    set_clock(shift, 0)
    if not refused:
        raise Broken("webhooks were taken although they were signed an hour ago by our clock")
    world.row.remarks.append(f"{refused} webhooks were refused while the clock was wrong")
    await asyncio.sleep(_SEEN_S)
    await world.settle("signatures")
