"""The real service as a child process: one that tests share, or a data folder for each."""

import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from agent_sidecar.simulator.legs import CONNECTION_ID
from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.front_door import Api
from tests.e2e.sidecar import Sidecar

# a call that has hung up waits so long for late lines, seconds
LATE_LINES_S = "0.3"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare the default model once, as a user would."""
    folder = tmp_path_factory.mktemp("models")
    prepared = Sidecar(tmp_path_factory.mktemp("nothing"), folder).run("models", "prepare")
    assert prepared.code == 0, prepared.err
    # the parity check with the original is printed
    assert "cosine to the original" in prepared.out
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """Name a data folder that is gone afterwards: a test's stack takes 100 MB."""
    with tempfile.TemporaryDirectory(prefix="sidecar-") as path:
        yield Path(path) / "data"


@pytest.fixture
def sidecar(folder: Path, models: Path) -> Iterator[Sidecar]:
    """Give a test a data folder of its own; nothing runs on it yet."""
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S) as own:
        yield own


# --- the one that tests share ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A running service, and what its callers need."""

    sidecar: Sidecar
    url: str
    signer: WebhookSigner
    # where it expects Call Control: a test that needs it opens a stub there
    control_port: int


@pytest.fixture(scope="session")
def shared(models: Path) -> Iterator[Shared]:
    """Run one service for all tests that leave it as they found it."""
    with tempfile.TemporaryDirectory(prefix="sidecar-") as path:
        folder = Path(path) / "data"
        folder.mkdir()
        # `replay` signs with this key: a service that believes it believes the replay
        signer = WebhookSigner.open(folder / "replay.key")
        port = free_port()
        settings = control_settings(port, signer)
        with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
            url = sidecar.start()
            yield Shared(sidecar=sidecar, url=url, signer=signer, control_port=port)
            assert sidecar.stop() == 0
            assert not sidecar.processes_left()


@pytest_asyncio.fixture
async def api(shared: Shared) -> AsyncIterator[Api]:
    """Give a test a client of the shared service."""
    async with Api(shared.url) as client:
        yield client


def control_settings(port: int, signer: WebhookSigner) -> dict[str, str]:
    """Return the settings of a Telnyx account whose Call Control is on that port."""
    return {
        "TELNYX_API_KEY": "e2e",
        "TELNYX_API_BASE": f"http://127.0.0.1:{port}/v2",
        "TELNYX_CONNECTION_ID": CONNECTION_ID,
        "TELNYX_PUBLIC_KEY": signer.public_key,
    }


def free_port() -> int:
    """Return a loopback port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
