import asyncio
from pathlib import Path

from agent_sidecar.commands.running import find_running
from agent_sidecar.commands.serve import _announce
from agent_sidecar.settings import read_settings


async def test_a_service_that_cannot_write_its_address_serves_and_writes_it_later(tmp_path: Path):
    settings = read_settings(data_dir=tmp_path)
    announcing = asyncio.create_task(_announce(settings, 8080))
    # there is no folder for it, as there is no room on a full disk
    await asyncio.sleep(60)
    assert not announcing.done()
    (tmp_path / "run").mkdir()
    await announcing
    running = find_running(settings)
    assert running is not None
    assert running.url == "http://127.0.0.1:8080"
