"""A whole trained model's folder, made complete: all that a base's folder has, so that it can take the base's place.

Place on the road: the end of a run that trained every weight; what is left here is what the engine loads. Weights and
``config.json`` are there already (transformers writes them, tied weights once, safetensors only); tokenizer, chat
template, generation settings, model card and the licence's texts are the base's, and a note says what was changed. The
same weights give the same bytes. Knows no training.
"""

import shutil
from pathlib import Path

from tuneward.modeling.folder_check import check_folder
from tuneward.modeling.hub import SIDE_FILES

CONFIG = "config.json"
CHANGES = "CHANGES.txt"


def complete(folder: Path, *, base: Path, base_name: str, answers: bool = True) -> None:
    """Bring what the base has besides weights into ``folder``, and prove the whole.

    Args:
        folder: holds ``config.json`` and safetensors.
        base: the base's folder.
        base_name: how the note names the base: a name or digest, never a path of this machine.
        answers: False for a model that scores answers, which no engine serves and which is proved less.

    Raises:
        ModelError: what lies in ``folder`` is no complete, usable model; every fault.
        OSError: the disk cannot be written.
    """
    names = sorted(file.name for file in base.iterdir() if SIDE_FILES.fullmatch(file.name))
    for name in names:
        if name != CONFIG:
            shutil.copyfile(base / name, folder / name)
    earlier = (base / CHANGES).read_text(encoding="utf-8") if (base / CHANGES).is_file() else ""
    changed = f"Every weight was trained further with Tuneward, starting from the model {base_name}.\n"
    (folder / CHANGES).write_text(earlier + changed, encoding="utf-8")
    if answers:
        check_folder(folder)
