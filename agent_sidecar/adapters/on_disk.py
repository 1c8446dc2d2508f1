"""Makes what was written outlast a power cut."""

import os
from pathlib import Path


def sync(place: Path) -> None:
    """Wait until a file, or which names a folder has, is on disk."""
    fd = os.open(place, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
