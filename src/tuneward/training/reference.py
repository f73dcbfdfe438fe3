"""The reference: log-probabilities of every answer under the model as training finds it, computed once and kept.

Place on the road: before the first step of a method that measures itself against where it began. "As training finds
it" means the starting adapter included, not the bare base. Kept in a file named by a digest of all that it depends on,
so that another run over the same rows does not compute it again. Knows no loss.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from tuneward.digests import digest_value
from tuneward.storage.files import write_atomically
from tuneward.training.batches import Window, fill_windows
from tuneward.training.distributed import ALONE, Group
from tuneward.training.losses.objective import Outputs, per_answer
from tuneward.training.rows import Rows


class Stopped(Exception):  # noqa: N818 - no error: somebody asked
    """The run was asked to stop before the reference was complete."""


def add_reference(
    rows: Rows,
    compute: Callable[[Sequence[int]], tuple[Outputs, Window]],
    *,
    folder: Path,
    made_from: Sequence[str],
    window_tokens: int,
    stop: Callable[[], bool],
    told: Callable[[int], None],
    group: Group = ALONE,
) -> None:
    """Give every row its reference log-probabilities, from the kept file or computed now.

    Args:
        rows: receive them.
        compute: passes the rows of these numbers through the model as it is.
        folder: where they are kept.
        made_from: digests and settings that fix the model's numbers: base, starting adapter, precision.
        window_tokens: room of a window.
        stop: asked before each window.
        told: receives the number of rows done.
        group: the windows are dealt over it.

    Raises:
        Stopped: ``stop`` said so; nothing is kept.
    """
    path = folder / f"{digest_value([rows.digest, *made_from])}.f64"
    kept = path.is_file() and path.stat().st_size == 16 * len(rows)
    if all(group.gather(kept)):
        rows.reference = np.fromfile(path, dtype="<f8").reshape(-1, 2)
        return
    found = np.zeros((len(rows), 2), dtype="<f8")
    done = 0
    sizes = rows.sizes.tolist()
    for share in group.share(list(fill_windows(sizes, window_tokens)), sizes.__getitem__, room=window_tokens):
        if stop():
            raise Stopped
        numbers = share.rows
        with torch.no_grad():
            outputs, window = compute(numbers)
            values = per_answer(outputs.log_probs(window), window).double().cpu().numpy()
        if not share.counted:
            continue
        at = 0
        for number, row in zip(numbers, window.rows, strict=True):
            found[number, : len(row.branches)] = values[at : at + len(row.branches)]
            at += len(row.branches)
        done += len(numbers)
        told(min(len(rows), done * group.size))
    found = np.sum(group.gather(found), axis=0)  # each row was computed by one process, and is zero in the others
    if group.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.tobytes())
    rows.reference = found
