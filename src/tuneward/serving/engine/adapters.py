"""Adapter folders: which paths the engine may read.

Place on the road: behind ``load_lora_adapter``. The engine reads below one root only, folders named by a digest only
(so that a name always means the same bytes), real files only and safetensors only. Knows no weights.
"""

import re
import stat
from pathlib import Path

from tuneward.errors import Fault, ServingError
from tuneward.modeling.config import ADAPTER_FILES

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def confine(root: Path | None, path: str) -> Path:
    """The adapter folder at ``path``, absolute or relative to ``root``.

    Raises:
        ServingError: the path leaves the root, passes through a link, is not named by a digest, or holds what the
            engine does not read; every fault.
    """
    if root is None:
        raise ServingError(
            _fault("the engine was started without a root for adapters", "start it with --adapters-root")
        )
    base = root.resolve()
    if "\0" in path or ".." in Path(path).parts:
        raise ServingError(_fault("the path holds `..` or a zero byte", "name the folder directly"))
    given = Path(path)
    inside = given
    if given.is_absolute():
        anchor = next((a for a in (root.absolute(), base) if given.is_relative_to(a)), None)
        if anchor is None:
            raise ServingError(_fault("the path is outside the root for adapters", f"put the folder below {base}"))
        inside = given.relative_to(anchor)
    folder = base / inside
    faults = []
    if not _DIGEST.match(folder.name):
        faults.append(_fault("the folder is not named by a digest (64 hex digits)", "use the artefact store's folder"))
    if not folder.is_dir():
        faults.append(_fault("there is no such folder", "see `tuneward register`"))
        raise ServingError(faults)
    if folder.resolve() != folder:
        faults.append(_fault("the path passes through a symbolic link", "name the real folder"))
    for name in ADAPTER_FILES:
        file = folder / name
        if not file.exists():
            faults.append(_fault(f"{name} is missing", "copy the whole adapter folder"))
    for file in sorted(folder.iterdir()):
        if not stat.S_ISREG(file.lstat().st_mode) and not stat.S_ISDIR(file.lstat().st_mode):
            faults.append(_fault(f"{file.name} is no plain file", "copy the file itself"))
        if file.suffix in _PICKLES:
            faults.append(_fault(f"{file.name} may run code when read", "keep safetensors only"))
    if faults:
        raise ServingError(faults)
    return folder


def _fault(message: str, cure: str) -> Fault:
    return Fault("TW-SERV-008", message, "lora_path", cure)
