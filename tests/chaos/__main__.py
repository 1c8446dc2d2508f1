"""`python -m tests.chaos`: break it on purpose, in every way or in those named; 1 if it broke."""

import argparse
import asyncio
import json
import logging
import secrets
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from agent_sidecar.settings import read_settings
from tests.chaos.board import Board, Row, State
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.service import Nursery
from tests.chaos.world import Broken, Options, Skipped, environment

# of a run of so many minutes, this share is for kills; one takes about so long
_KILLS_SHARE, _KILL_S = 0.5, 4.0


def main() -> int:
    given = _arguments()
    seed = secrets.randbelow(10**9) if given.seed is None else given.seed
    kills = given.kills
    if given.minutes is not None and kills is None:
        kills = max(5, round(given.minutes * 60 * _KILLS_SHARE / _KILL_S))
    # short: the paths of unix sockets end after 107 bytes
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    # everybody may pass: PostgreSQL runs as somebody else where we are root
    folder.chmod(0o711)
    print(f"seed {seed}: the same again with --seed {seed}", file=sys.stderr)  # noqa: T201
    nursery = Nursery(environment())
    options = Options(
        seed=seed,
        models=read_settings().models,
        kills=200 if kills is None else kills,
        fault_s=given.fault_s,
        at_once=given.at_once,
        nursery=nursery,
        parts=frozenset(name for name in given.only if ":" in name),
    )
    # a part is named SCENARIO:PART
    wanted = {name.partition(":")[0] for name in given.only} or set(SCENARIOS)
    rows = [Row(name=n, about=s.about) for n, s in SCENARIOS.items() if n in wanted]
    # the stub of Telnyx would tell of every service that is killed in the middle of a command
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with Board(rows) as board:
        asyncio.run(_run_all(options, folder, board))
    print(json.dumps({"seed": seed, "scenarios": [r.document() for r in rows]}, indent=1))  # noqa: T201
    failed = [row for row in rows if row.state == "FAILED"]
    for row in rows:
        for text in (*row.remarks, *row.faults):
            print(f"{row.name}: {text}", file=sys.stderr)  # noqa: T201
    if failed or given.keep:
        print(f"evidence: {folder}; again: --seed {seed}", file=sys.stderr)  # noqa: T201
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


async def _run_all(options: Options, folder: Path, board: Board) -> None:
    try:
        for row in board.rows:
            await _run(options, folder / row.name, board, row)
    finally:
        await options.nursery.aclose()


async def _run(options: Options, folder: Path, board: Board, row: Row) -> None:
    board.begin(row)
    try:
        await SCENARIOS[row.name].run(options, folder, board, row)
    except Skipped as exc:
        board.end(row, "skipped", str(exc))
        return
    except Broken as exc:
        if not row.faults:
            row.faults.append(str(exc))
    except Exception as exc:  # noqa: BLE001  # the others are still worth a try
        traceback.print_exc()
        row.faults.append(repr(exc))
    state: State = "FAILED" if row.faults else "clean"
    board.end(row, state, row.faults[0] if row.faults else row.about)


def _arguments() -> argparse.Namespace:
    told = "\n".join(f"  {name:<10}{s.about}" for name, s in SCENARIOS.items())
    made = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        epilog=f"scenarios:\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--seed", type=int, help="the same moments again (default: any)")
    made.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="this scenario alone, or one part of it (stores:neo4j:hang); may be repeated",
    )
    made.add_argument("--kills", type=int, help="of the service (default 200)")
    made.add_argument("--minutes", type=float, help="about so long: fewer or more kills")
    made.add_argument("--fault-s", type=float, default=8.0, help="how long a fault lasts")
    made.add_argument("--at-once", type=int, default=20, help="calls at once (default 20)")
    made.add_argument("--keep", action="store_true", help="keep the folder of a clean run too")
    given = made.parse_args()
    unknown = {name.partition(":")[0] for name in given.only} - set(SCENARIOS)
    if unknown:
        made.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return given


if __name__ == "__main__":
    sys.exit(main())
