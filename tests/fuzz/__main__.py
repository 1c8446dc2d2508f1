"""`python -m tests.fuzz`: every fuzzer for so many seconds; 1 when anything was found."""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.account import Account
from tests.fuzz.door import DoorFuzz
from tests.fuzz.frames import FrameFuzz

# more than this after it has warmed up, per run, is a leak
GROWTH_MB = 100.0


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--seconds", type=float, default=60.0, help="of each fuzzer (default 60)")
    made.add_argument("--seed", type=int, help="the same nonsense again (default: any)")
    given = made.parse_args()
    seed = secrets.randbelow(10**9) if given.seed is None else given.seed
    print(f"seed {seed}: the same again with --seed {seed}", file=sys.stderr)  # noqa: T201
    accounts = [FrameFuzz(seed).run(given.seconds), _at_the_door(seed, given.seconds)]
    print(json.dumps({"seed": seed, "runs": [a.document() for a in accounts]}, indent=2))  # noqa: T201
    grown = any(account.end_mb - account.warm_mb > GROWTH_MB for account in accounts)
    return 1 if grown or any(account.failures for account in accounts) else 0


def _at_the_door(seed: int, seconds: float) -> Account:
    with tempfile.TemporaryDirectory(prefix="sidecar-fuzz-") as folder:
        return asyncio.run(DoorFuzz(seed, Path(folder)).run(seconds))


if __name__ == "__main__":
    sys.exit(main())
