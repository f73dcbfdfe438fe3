"""Dataset folders: which files of a folder hold rows, also where Hugging Face's ``datasets`` saved it.

Place on the road: asked by ``data.files`` for every folder that the settings name. ``save_to_disk`` writes
``state.json``, which lists the shards in their order, and for several splits ``dataset_dict.json`` above one such
folder each. A name in these files that leads elsewhere is refused. Knows no row.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from tuneward.domain.record import Split

STATE: Final = "state.json"
SPLITS: Final = "dataset_dict.json"
_MOST_BYTES: Final = 16 * 1024 * 1024


class FolderError(Exception):
    """A dataset folder that does not hold what it says.

    Attributes:
        cure: what helps.
    """

    def __init__(self, message: str, *, cure: str = "save the dataset again with `save_to_disk`") -> None:
        super().__init__(message)
        self.cure = cure


def files_below(folder: Path, split: Split) -> list[Path]:
    """The files of a folder and below, in the order of their names but for hidden ones; of dataset folders, the shards.

    Args:
        folder: the folder.
        split: which split is taken of a folder that holds several.

    Raises:
        FolderError: a dataset folder lacks the split or a shard, or names what lies elsewhere.
    """
    found: list[tuple[tuple[str, ...], int, Path]] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if SPLITS in names:
            folders.clear()
            shards = _shards(here / _split_of(here, split))
        elif STATE in names and _is_state(here / STATE):
            folders.clear()
            shards = _shards(here)
        else:
            folders[:] = [name for name in folders if not name.startswith(".")]
            shown = [here / name for name in names if not name.startswith(".") and (here / name).is_file()]
            found += [(path.relative_to(folder).parts, 0, path) for path in shown]
            continue
        found += [(here.relative_to(folder).parts, number, path) for number, path in enumerate(shards)]
    return [path for _, _, path in sorted(found)]


def _split_of(folder: Path, split: Split) -> str:
    splits = _json(folder / SPLITS).get("splits")
    names = [name for name in splits if _is_plain(name)] if isinstance(splits, list) else []
    if split in names:
        return split
    listed = ", ".join(str(name)[:40] for name in names[:12]) or "none"
    cure = f"name the folder of one split, as in `{folder.name}/{names[0][:40] if names else split}`"
    raise FolderError(f"has no split `{split}` among: {listed}", cure=cure)


def _shards(folder: Path) -> list[Path]:
    listed = _json(folder / STATE).get("_data_files")
    items = listed if isinstance(listed, list) else []
    names = [item.get("filename") if isinstance(item, dict) else None for item in items]
    shards = []
    for number, name in enumerate(names, start=1):
        if not _is_plain(name):
            raise FolderError(f"shard {number} of `{folder.name}/{STATE}` leads out of its folder")
        if not (folder / str(name)).is_file():
            raise FolderError(
                f"shard {number} of `{folder.name}/{STATE}` is missing", cure="copy the whole folder again"
            )
        shards.append(folder / str(name))
    if not shards:
        raise FolderError(f"`{folder.name}/{STATE}` lists no shards")
    return shards


def _is_state(path: Path) -> bool:
    return "_data_files" in _json(path)


def _json(path: Path) -> dict[str, Any]:
    """The object that a file holds; an empty one where it holds none."""
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_plain(name: Any) -> bool:
    return (
        isinstance(name, str)
        and bool(name)
        and name == Path(name).name
        and name not in (".", "..")
        and "\0" not in name
    )
