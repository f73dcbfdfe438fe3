"""Site: the folder in which everything of one installation lives.

Place on the road: step 0 (``init``) makes it, every other step opens it. Knows where things are and which format they
have; knows nothing of projects, roles or keys' contents. A site whose folder cannot be written (a read-only disk, a
backup) is opened for reading; whoever would write to it is refused.

Layout of ``.tuneward`` (0700, since prepared rows are inside): ``site.json`` (id and format), ``site.db`` (SQLite),
``artifacts/``, ``log/`` (exported checkpoints), ``runs/`` (scratch of each run), ``cache/`` (what can be made again
from a dataset's rows, by its digest; what inspection found), ``keys/``, ``lock``, ``lock-serve``, ``.gitignore`` (of
everything). POSIX only (``flock``).
"""

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuneward.digests import canonical_json, is_digest
from tuneward.errors import Fault, StorageError
from tuneward.ids import new_id
from tuneward.settings import Settings
from tuneward.storage.artifacts import Artifacts
from tuneward.storage.database import Database, now, refuse_rubbish
from tuneward.storage.files import explained, read_only, write_atomically
from tuneward.storage.schema import bring_up_to_date
from tuneward.storage.staging import PREFIX, staging, sweep, sweep_files

#: Name of a site's folder inside a project or above it.
FOLDER_NAME = ".tuneward"
#: Layout of the folder; raised when an older Tuneward could not read it.
FORMAT = 1
#: How often whoever takes a lock looks again while others only ask about it, a few milliseconds apart.
_LOOKS = 500


class Site:
    """A site that is there; made by :meth:`create`, found by :meth:`find`, read by :meth:`open`.

    Attributes:
        id: ``site_…``; names the log.
        folder: the ``.tuneward`` folder, absolute.
        database: the records.
        artifacts: the artefact store.
        writable: whether anything can be written into the folder.
    """

    def __init__(self, folder: Path, site_id: str, database: Database) -> None:
        self.id = site_id
        self.folder = folder
        self.database = database
        self.writable = os.access(folder, os.W_OK)
        self.artifacts = Artifacts(folder / "artifacts", writable=self.writable)
        self._held: dict[str, tuple[int, int]] = {}  # lock file → thread, how often

    @property
    def keys_folder(self) -> Path:
        """Where ``governance.keys`` keeps its files; only the owner can enter."""
        return self.folder / "keys"

    @property
    def scratch_folder(self) -> Path:
        """On whose disk a step may put files without a name."""
        return self.folder / "runs"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder in which a step builds what it will store, on the same disk as the artefacts; gone at the end.

        Raises:
            StorageError: in place of any OSError, those of the body included.
        """
        with staging(self.folder / "runs") as folder:
            yield folder

    @property
    def log_folder(self) -> Path:
        """Where checkpoints are exported."""
        return self.folder / "log"

    @classmethod
    def create(cls, folder: Path) -> "Site":
        """Make a new site in ``folder`` (usually ``PROJECT/.tuneward``); all of it or nothing.

        Raises:
            StorageError: when something is there already, or the place cannot be written.
        """
        folder = folder.absolute()
        with explained(folder):
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise StorageError(
                    Fault("TW-STOR-002", "something is there already", str(folder), "use it, or choose another folder")
                )
            folder.parent.mkdir(parents=True, exist_ok=True)
            prefix = f"{folder.name}-new-"
            sweep(folder.parent, prefix=prefix)
            with staging(folder.parent, prefix=prefix) as building:
                for name in ("log", "runs", "keys"):
                    (building / name).mkdir()
                (building / "keys").chmod(0o700)
                Artifacts(building / "artifacts")
                database = _database(building)
                bring_up_to_date(database, empty=True)
                database.close()
                description = {"format": FORMAT, "id": new_id("site"), "created_at": now()}
                write_atomically(building / ".gitignore", b"*\n")  # keys and rows enter nobody's repository
                write_atomically(building / "site.json", canonical_json(description) + b"\n")
                building.rename(folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Site":
        """Open the site in ``folder``; a database of an older version is brought up to date.

        Raises:
            StorageError: when there is none, or it was made by a newer Tuneward.
        """
        folder = folder.absolute()
        path = folder / "site.json"
        if not path.is_file():
            raise StorageError(
                Fault("TW-STOR-001", "there is no site here", str(folder), "run `tuneward init`, or set TUNEWARD_SITE")
            )
        with explained(path):
            text = path.read_bytes()
        try:
            description = json.loads(text)
            site_format, site_id = int(description["format"]), str(description["id"])
        except (ValueError, TypeError, KeyError):
            raise StorageError(
                Fault("TW-STOR-003", "not a site's description", str(path), "restore it from a backup")
            ) from None
        if site_format != FORMAT:
            raise StorageError(
                Fault(
                    "TW-STOR-003", f"format {site_format}, not {FORMAT}", str(path), "install the Tuneward that made it"
                )
            )
        database = _database(folder)
        _refuse_lost(folder)
        bring_up_to_date(database)
        return cls(folder, site_id, database)

    @staticmethod
    def find(start: Path) -> Path | None:
        """The folder of the site to use: ``TUNEWARD_SITE``, else the nearest ``.tuneward`` from ``start`` upwards."""
        named = Settings.from_environment().site
        if named is not None:
            inside = named / FOLDER_NAME
            return inside if not (named / "site.json").exists() and (inside / "site.json").exists() else named
        start = start.absolute()
        return next(
            (f / FOLDER_NAME for f in (start, *start.parents) if (f / FOLDER_NAME / "site.json").is_file()), None
        )

    def run_folder(self, run_id: str) -> Path:
        """Scratch folder of a run, made when it is not there.

        Raises:
            StorageError: when it cannot be made.
        """
        folder = self.folder / "runs" / run_id
        assert folder.parent == self.folder / "runs", "a run's id is no path"
        with explained(folder):
            folder.mkdir(exist_ok=True)
        return folder

    @property
    def inspection_folder(self) -> Path:
        """Where ``prepare`` keeps what inspection found in rows, one file for each project; see ``forget`` there."""
        return self.folder / "cache" / "inspection"

    def cache_folder(self, dataset: str) -> Path:
        """Where runs share what they made from a dataset's rows; its content ends with :meth:`sweep_cache`.

        Args:
            dataset: digest of its artefact.
        """
        return self.folder / "cache" / dataset

    def sweep_cache(self, keep: Collection[str]) -> None:
        """Remove what was made from other datasets than those of the digests ``keep``: it holds content of rows.

        Raises:
            StorageError: when the folder cannot be listed.
        """
        folder = self.folder / "cache"
        with explained(folder):
            for made in folder.iterdir() if folder.is_dir() else ():
                if is_digest(made.name) and made.name not in keep:  # a linked folder may hold others' things
                    shutil.rmtree(made, ignore_errors=True)

    @contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Hold the site: one step of the road at a time; serving (``purpose="serve"``) has a lock of its own.

        The thread that holds it may take it again. The operating system lets go when the process ends, however it ends.

        Raises:
            StorageError: when another process holds it, at once, or the site can only be read.
        """
        if not self.writable:
            raise StorageError(read_only(self.folder))
        name = _lock_name(purpose)
        thread, depth = self._held.get(name, (0, 0))
        if depth and thread == threading.get_ident():
            self._held[name] = (thread, depth + 1)
            try:
                yield
            finally:
                self._held[name] = (thread, depth)
            return
        path = self.folder / name
        with explained(path):
            handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        with handle:
            if not _taken(handle):
                raise StorageError(_held_by(handle.read(), path))
            with explained(path):
                if name == "lock":  # what a killed step left, rows maybe; first, as it may fill the disk
                    sweep(self.folder / "runs", prefix=PREFIX)
                    for left in filter(Path.is_dir, (self.folder, self.keys_folder, self.log_folder)):
                        sweep_files(left)
                handle.truncate(0)
                handle.write(canonical_json({"pid": os.getpid(), "purpose": purpose, "since": now()}))
            self._held[name] = (threading.get_ident(), 1)
            try:
                yield
            finally:
                del self._held[name]
                handle.seek(0)
                handle.truncate(0)

    def held(self, purpose: str) -> bool:
        """Whether a process, this one included, holds the lock for ``purpose`` now; who takes it is not kept off.

        Raises:
            StorageError: when the lock's file cannot be opened.
        """
        path = self.folder / _lock_name(purpose)
        with explained(path):
            try:
                handle = path.open("rb")
            except FileNotFoundError:
                return False
        with handle:
            return not _shared(handle)


def _lock_name(purpose: str) -> str:
    return "lock-serve" if purpose == "serve" else "lock"


def _shared(handle: IO[bytes]) -> bool:
    """Whether nobody holds the file alone; asked by sharing it until it is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(handle: IO[bytes]) -> bool:
    """Take the file alone, unless somebody else has it so; who only asks (:meth:`Site.held`) is waited for."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _shared(handle):
                return False
            fcntl.flock(handle, fcntl.LOCK_UN)
            time.sleep(0.001 + os.getpid() % 10 / 5000)  # apart from others who would take it now
        else:
            return True
    return False


def _database(folder: Path) -> Database:
    url = Settings.from_environment().database_url
    return Database(url) if url else Database.at(folder / "site.db", writable=os.access(folder, os.W_OK))


def _refuse_lost(folder: Path) -> None:
    """SQLite would make a new, empty database in place of one that was lost, and the log would begin anew."""
    path = folder / "site.db"
    if Settings.from_environment().database_url is not None:
        return
    if not (path.is_file() and path.stat().st_size):
        cure = "restore site.db (and site.db-wal) from a backup"
        raise StorageError(Fault("TW-STOR-003", "the database is gone", str(path), cure))
    refuse_rubbish(path)


def _held_by(text: bytes, path: Path) -> Fault:
    try:
        holder = json.loads(text)
        who = f"pid {holder['pid']}, `{holder['purpose']}`, since {holder['since']}"
        cure = f"wait until it has finished, or end process {holder['pid']}"
    except (ValueError, TypeError, KeyError):
        who, cure = "it is just starting", "wait until it has finished"
    return Fault("TW-STOR-005", f"another process works on this site ({who})", str(path.parent), cure)
