"""`replay FILE`: recorded calls through the front door, and what came of them."""

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agent_sidecar.adapters.av_encoder import packet_encoder
from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import STORES
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator import progress as told
from agent_sidecar.simulator.codecs import PLAIN, StreamCodec, wide_codec
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.media import StreamRules
from agent_sidecar.simulator.player import PlayRules
from agent_sidecar.simulator.progress import HEADINGS, ReplayReport, table_rows
from agent_sidecar.simulator.replay import ReplayRules, replay
from agent_sidecar.simulator.signing import WebhookSigner


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Replay a file; 0 when every call is in every store and the stores agree."""
    calls = list(read_recorded_calls(arguments.file, limit=arguments.limit))
    if not calls:
        raise RecordedCallInvalid(f"{arguments.file}: holds no call; one JSON object a line")
    report = asyncio.run(_replay(settings, arguments, calls))
    if arguments.json:
        out_json(report.document())
    else:
        _show(report)
    complete = report.clean and all(call.complete for call in report.calls)
    return 0 if complete else 1


async def _replay(
    settings: Settings, arguments: argparse.Namespace, calls: list[RecordedCall]
) -> ReplayReport:
    signer = WebhookSigner.open(_key_file(settings))
    codec = stream_codec(arguments.codec)
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with (
        _front_door(settings, arguments.url, signer) as url,
        FrontDoor(url, token) as door,
    ):
        screen.print(f"[dim]front door: {url}[/]")
        rules = ReplayRules(
            play=PlayRules(speed=arguments.speed, source="replay", stream=StreamRules(codec=codec)),
            concurrency=arguments.concurrency,
            signer=signer,
        )
        with _Screen(len(calls), sum(len(call.segments) for call in calls)) as live:
            return await replay(calls, door, rules, on_progress=live.tell)


def stream_codec(name: str) -> StreamCodec:
    """Return the codec of that name. Raises `CodecUnsupported`."""
    if name in PLAIN:
        return PLAIN[name]
    # both are labelled with their RTP clock
    labelled_hz = {"G722": 8000, "OPUS": 48_000}[name]
    return wide_codec(MediaFormat(encoding=name, sample_rate_hz=labelled_hz), packet_encoder(name))


def _key_file(settings: Settings) -> Path:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings.data_dir / "replay.key"


@asynccontextmanager
async def _front_door(
    settings: Settings, url: str | None, signer: WebhookSigner
) -> AsyncIterator[str]:
    """Find the front door: the one named, the running one, or one of our own."""
    if url is not None:
        yield url
        return
    ours: dict[str, str | None] = {
        "SIDECAR_TELNYX_PUBLIC_KEY": signer.public_key,
        # what is played must not reach anybody who takes it for real
        "SIDECAR_FORWARD_URL": None,
        "SIDECAR_AUTO_ATTACH": None,
        "SIDECAR_TELNYX_API_KEY": None,
    }
    async with service_for(settings, ours) as found:
        yield found


class _Screen:
    """Progress for a person, on stderr."""

    def __init__(self, calls: int, segments: int) -> None:
        self._stores: dict[str, Mapping[str, str]] = {}
        self._hints = 0
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=screen,
        )
        self._lines = self._progress.add_task("lines", total=segments, note="")
        self._calls = self._progress.add_task("calls", total=calls, note="")
        self._reached = self._progress.add_task("stores", total=calls * len(STORES), note="")

    def __enter__(self) -> "_Screen":
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def tell(self, event: told.Progress) -> None:
        """Show one step of the replay."""
        match event:
            case told.MessageHeard(message={"type": "score"}):
                self._progress.advance(self._lines)
            case told.MessageHeard(message={"type": "hint"}):
                self._hints += 1
                self._progress.update(self._lines, note=f"{self._hints} hints")
            case told.PlayEnded():
                self._progress.advance(self._calls)
            case told.StoresReached(file_id=file_id, stores=stores):
                self._stores[file_id] = stores
                states = Counter(s for reached in self._stores.values() for s in reached.values())
                self._progress.update(self._reached, completed=states["delivered"])
            case told.VerifyStarted():
                self._progress.update(self._reached, note="comparing all stores")


def _show(report: ReplayReport) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading)
    for row in table_rows(report):
        table.add_row(*row)
    paper.print(table)
    complete = sum(call.complete for call in report.calls)
    paper.print(f"{complete} of {len(report.calls)} calls complete in all stores")
    if report.clean:
        paper.print("verify: [green]clean[/]")
        return
    paper.print("verify: [red]not clean[/]")
    for line in report.differences[:20] or (report.verify_error,):
        paper.print(f"  {line}")
