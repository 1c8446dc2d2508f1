"""What finished calls and leads are forgotten by, put together."""

import asyncio
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from agent_sidecar.adapters.archive_files import ArchiveFiles
from agent_sidecar.adapters.recording_folder import RecordingFolder
from agent_sidecar.backup_search import search_backups
from agent_sidecar.live.telling import alone
from agent_sidecar.parts import Parts
from agent_sidecar.wrapup.erasure import Eraser, ErasureParts, ErasureReport
from agent_sidecar.wrapup.forgetting import Forgetter
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.retention import Retention, RetentionParts

PROOFS = "erasures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """All of it; each goes on while its `run` runs."""

    forgetter: Forgetter
    retention: Retention
    eraser: Eraser

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Let all of it go on, each on its own."""
        tasks.create_task(alone(self.forgetter.run()), name="forgetter")
        tasks.create_task(alone(self.retention.run()), name="retention")
        tasks.create_task(alone(self.eraser.run()), name="eraser")


def put_together(parts: Parts, relay: Relay) -> Forgetting:
    """Return what forgets for a service whose records `relay` delivers."""
    stores, data_dir = parts.stores, parts.settings.data_dir
    book = parts.journal.forgetting
    archives, recordings = (
        ArchiveFiles(data_dir / "archives"),
        RecordingFolder(data_dir / "recordings"),
    )
    forgetter = Forgetter(book, stores.projections, relay.paused)
    return Forgetting(
        forgetter=forgetter,
        retention=Retention(
            RetentionParts(
                rules=parts.settings.retention,
                conversations=stores.conversations,
                journal=parts.journal,
                book=book,
                archives=archives,
                recordings=recordings,
                forgetter=forgetter,
                clock=parts.clock,
                close_days=parts.learning.close,
            )
        ),
        eraser=Eraser(
            ErasureParts(
                journal=parts.journal,
                book=book,
                projections=stores.projections,
                conversations=stores.conversations,
                leads=stores.lead_rows,
                archives=archives,
                recordings=recordings,
                forgetter=forgetter,
                clock=parts.clock,
                backups=lambda who: asyncio.to_thread(search_backups, data_dir, who),
                keep_proof=lambda report: asyncio.to_thread(_keep_proof, data_dir, report),
            )
        ),
    )


def _keep_proof(data_dir: Path, report: ErasureReport) -> str:
    folder = data_dir / PROOFS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done_at = datetime.fromisoformat(report.done_at or report.asked_at)
    place = folder / f"{done_at:%Y%m%dT%H%M%S}-{report.id[:12]}.json"
    said = asdict(report) | {"proof": f"{PROOFS}/{place.name}"}
    new = place.with_suffix(".new")
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(said), indent=1))
        file.flush()
        os.fsync(file.fileno())
    new.replace(place)
    return f"{PROOFS}/{place.name}"
