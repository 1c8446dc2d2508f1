"""Which backups still hold a lead: they are read, never changed; and journals set aside."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agent_sidecar.adapters import backup_folder
from agent_sidecar.adapters.journal_copies import leads_in
from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import JournalFailed
from agent_sidecar.wrapup.erasure import BackupFinding

# in the data folder: where backups of it were written
REGISTER = "backups.json"
_LEADS = f"{backup_folder.TABLES}/leads.csv.gz"
_DELETE = "delete it, or keep it where nobody restores it: a restore brings him back"
_CHECK = "look for him there, or delete it"
# what a start has put aside because it was damaged
_SET_ASIDE = "journal.sqlite3.damaged-*"
_ASIDE = "a damaged journal that was set aside: delete it once nothing of it is needed"


class _Backup(msgspec.Struct):
    path: str
    at: str


class _Register(msgspec.Struct):
    backups: list[_Backup] = []


class _WithLead(msgspec.Struct):
    lead: Lead = msgspec.field(default_factory=Lead)


def search_backups(data_dir: Path, person: Person) -> Sequence[BackupFinding]:
    """Look into every backup that was made of a data folder; name what cannot be looked into."""
    aside = tuple(
        BackupFinding(path=place.name, at="", holds_him=None, what_to_do=_ASIDE)
        for place in sorted(data_dir.glob(_SET_ASIDE))
    )
    return (*aside, *_search_register(data_dir, person))


def _search_register(data_dir: Path, person: Person) -> Sequence[BackupFinding]:
    try:
        known = msgspec.json.decode((data_dir / REGISTER).read_bytes(), type=_Register).backups
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError):
        todo = "it cannot be read: look for backups of this data folder yourself"
        return (BackupFinding(path=REGISTER, at="", holds_him=None, what_to_do=todo),)
    return tuple(_search(backup, person) for backup in known)


def _search(backup: _Backup, person: Person) -> BackupFinding:
    try:
        holds_him: bool | None = any(map(person.is_named, _leads_in(Path(backup.path))))
    except (OSError, EOFError, zlib.error, ValueError, JournalFailed):
        holds_him = None
    todo = {True: _DELETE, False: "nothing", None: _CHECK}[holds_him]
    return BackupFinding(path=backup.path, at=backup.at, holds_him=holds_him, what_to_do=todo)


def _leads_in(folder: Path) -> Iterator[Lead]:
    """Yield every lead that a backup names. Raises OSError, ValueError for one that is damaged."""
    with gzip.open(folder / _LEADS, "rt", newline="") as table:
        names = set(Lead.__dataclass_fields__) - {"extra", "lead_id"}
        for row in csv.DictReader(table):
            known = {name: value for name, value in row.items() if name in names and value}
            yield Lead(lead_id=row["id"], **known)  # type: ignore[arg-type]  # columns are texts
    yield from leads_in(folder / backup_folder.JOURNAL)
    archives = sorted((folder / backup_folder.FILES / "archives").glob("*.jsonl.gz"))
    for place in (folder / backup_folder.CONVERSATIONS, *archives):
        with gzip.open(place, "rb") as lines:
            for line in lines:
                yield msgspec.json.decode(line, type=_WithLead).lead
