"""Files: from the patterns of ``tuneward.yaml`` to files with a digest.

Place on the road: the first step of ``data.dataset.build``. Relative names stay inside the project's folder. Knows no
format but by a file's name, and the folders of ``data.dataset_folder``.
"""

import difflib
import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tuneward.data.config import DataConfig
from tuneward.data.dataset_folder import FolderError, files_below
from tuneward.data.faults import Faults
from tuneward.digests import digest_file
from tuneward.domain.record import Split

#: Ends of names of packed files.
PACKINGS: Final = (".gz", ".zst")


@dataclass(frozen=True)
class Limits:
    """What one file may grow to, and what of it is wanted; the ``data`` section's fields of the same names.

    Attributes:
        unpacked_mib: the most that a packed file may unpack to, in MiB.
        unpacked_ratio: the most that it may unpack to, as a multiple of its size.
        mail_headers: headers of mails that are read with their text.
    """

    unpacked_mib: int = DataConfig.model_fields["unpacked_mib"].default
    unpacked_ratio: int = DataConfig.model_fields["unpacked_ratio"].default
    mail_headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataFile:
    """A file to read.

    Attributes:
        path: where it lies.
        name: as the project names it: relative to its folder, or absolute.
        digest: SHA-256 of its bytes, packed where it is packed.
        bytes: its size.
        split: whether its rows train or test.
        limits: what it may grow to.
    """

    path: Path
    name: str
    digest: str
    bytes: int
    split: Split
    limits: Limits = field(default_factory=Limits)

    @property
    def stored_bytes(self) -> int:
        """Its size, asked of the disk where nobody has: what is looked at without a project is not digested before."""
        return self.bytes or self.path.stat().st_size

    @property
    def packing(self) -> str:
        """``.gz``, ``.zst``, or nothing where it is not packed."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in PACKINGS else ""

    @property
    def kind(self) -> str:
        """The suffix that says its format, that of its packing left out."""
        path = self.path.with_suffix("") if self.packing else self.path
        return path.suffix.lower()


def find_files(config: DataConfig, *, project_folder: Path, faults: Faults) -> list[DataFile]:
    """Resolve ``train`` and ``test``, train first, each in the order given, patterns sorted, no file twice.

    A folder stands for all files in it and below, but for hidden ones; a dataset folder of Hugging Face's ``datasets``
    for its rows (see ``data.dataset_folder``). Missing and empty files, empty folders, paths
    that lead out of the project and files on both sides become faults.
    """
    files: list[DataFile] = []
    seen: dict[Path, Split] = {}
    limits = limits_of(config)
    wanted: list[tuple[Split, int, str]] = [("train", i, p) for i, p in enumerate(config.train)]
    wanted += [("test", i, p) for i, p in enumerate(config.test)]
    for split, index, pattern in wanted:
        for path in _match(pattern, split, f"data.{split}[{index}]", project_folder, faults):
            real = path.resolve()
            if seen.get(real) == split:
                continue
            name = path.as_posix() if Path(pattern).is_absolute() else path.relative_to(project_folder).as_posix()
            if real in seen:
                faults.add(
                    "TW-DATA-026",
                    f"`{name}` trains and tests",
                    place=f"data.{split}[{index}]",
                    cure="keep one of the two",
                )
                continue
            seen[real] = split
            file = open_file(path, name, split, faults, limits=limits)
            if file:
                files.append(file)
    return files


def file_digests(config: DataConfig, project_folder: Path) -> dict[str, list[str]]:
    """Name → split and SHA-256 of every file that the settings name: what a dataset is made of.

    Raises:
        DataError: a file is missing, empty or outside the project (all faults).
    """
    faults = Faults()
    files = find_files(config, project_folder=project_folder, faults=faults)
    faults.raise_if_any()
    return {file.name: [file.split, file.digest] for file in files}


def limits_of(config: DataConfig) -> Limits:
    """What the ``data`` section lets one file grow to."""
    return Limits(
        unpacked_mib=config.unpacked_mib, unpacked_ratio=config.unpacked_ratio, mail_headers=config.mail_headers
    )


def _match(pattern: str, split: Split, setting: str, project_folder: Path, faults: Faults) -> list[Path]:
    literal = project_folder / pattern
    if _exists(literal):
        try:
            found = (files_below(literal, split) or [literal]) if literal.is_dir() else [literal]
        except FolderError as error:
            faults.add("TW-DATA-045", str(error), place=f"{setting}: {pattern}", cure=error.cure)
            return []
    else:
        found = [project_folder / name for name in _expand(pattern, project_folder)]
        found = [path for path in found if path.is_file()]
    if not found:
        faults.add("TW-DATA-001", f"`{pattern}` does not exist", place=setting, cure=_nearby(literal))
        return []
    if Path(pattern).is_absolute():
        return found
    inside = []
    for path in found:
        if path.resolve().is_relative_to(project_folder.resolve()):
            inside.append(path)
        else:
            faults.add(
                "TW-DATA-003",
                f"`{pattern}` leads out of the project's folder",
                place=setting,
                cure="copy the file into the project, or name it by its absolute path",
            )
    return inside


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than the file system takes
        return False


def _expand(pattern: str, folder: Path) -> list[str]:
    return sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute names


def _nearby(missing: Path) -> str:
    try:
        names = [path.name for path in missing.parent.iterdir() if path.is_file()]
    except OSError:
        return f"there is no folder `{missing.parent.name}`; check the path"
    close = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else "check the path; it is relative to the project's folder"


def open_file(path: Path, name: str, split: Split, faults: Faults, *, limits: Limits | None = None) -> DataFile | None:
    """The file with its digest; None and a fault where it cannot be read or is empty.

    Args:
        path: where it lies.
        name: as faults and records name it.
        split: whether its rows train or test.
        faults: receives what is wrong.
        limits: what it may grow to; the settings' defaults when None.
    """
    if not path.is_file():
        faults.add("TW-DATA-005", "is a folder without files", place=name, cure="name files, as in `data/*.jsonl`")
        return None
    try:
        size = path.stat().st_size
        digest = digest_file(path)
    except OSError as error:
        faults.add("TW-DATA-005", f"cannot be read: {error.strerror}", place=name, cure="check its permissions")
        return None
    if size == 0:
        faults.add("TW-DATA-002", "has no bytes", place=name, cure="fill it, or take it out of tuneward.yaml")
        return None
    return DataFile(path=path, name=name, digest=digest, bytes=size, split=split, limits=limits or Limits())
