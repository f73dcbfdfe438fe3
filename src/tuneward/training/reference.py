"""The reference: log-probabilities of every answer under the model as training finds it, computed once and kept.

Place on the road: before the first step of a method that measures itself against where it began. "As training finds
it" means the starting adapter included, not the bare base. Kept in a file named by a digest of all that it depends on,
so that another run over the same rows does not compute it again. Knows no loss.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from tuneward.digests import digest_bytes, digest_value
from tuneward.errors import Fault, TrainingError
from tuneward.storage.files import write_atomically
from tuneward.training.batches import Window, fill_windows
from tuneward.training.distributed import ALONE, Group
from tuneward.training.interruption import Stopped, memory_explained
from tuneward.training.losses.objective import Outputs, per_answer
from tuneward.training.rows import Rows


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
        TrainingError: a log-probability is no finite number (names the rows), or a window did not fit into memory;
            nothing is kept.
    """
    path = folder / f"{digest_value([rows.digest, *made_from])}.f64"
    kept = _kept(path, len(rows))
    if all(group.gather(kept is not None)):
        rows.reference = kept
        told(len(rows))
        return
    found = np.zeros((len(rows), 2), dtype="<f8")
    done = 0
    sizes = rows.sizes.tolist()
    for share in group.share(list(fill_windows(sizes, window_tokens)), sizes.__getitem__, room=window_tokens):
        if stop():
            raise Stopped
        numbers = share.rows
        with memory_explained("a window of the reference's pass", [numbers]), torch.no_grad():
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
    _refuse_broken(rows, found)
    if group.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, digest_bytes(found.tobytes()).encode() + found.tobytes())
    rows.reference = found


def _refuse_broken(rows: Rows, found: np.ndarray) -> None:
    (broken,) = np.nonzero(~np.isfinite(found).all(axis=1))
    if broken.size:
        shown = ", ".join(rows[int(number)].id for number in broken[:8])
        more = f" and {broken.size - 8} more" if broken.size > 8 else ""
        told = f"the reference's log-probability is not finite, rows {shown}{more}"
        cure = "look at these rows; if every run over them ends so, the base is damaged: pull it again"
        raise TrainingError(Fault("TW-TRAIN-007", told, "reference", cure))


def _kept(path: Path, rows: int) -> np.ndarray | None:
    """What a file holds behind the digest of it, or None where there is no whole one: it is made again."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, numbers = data[:64], data[64:]
    if len(numbers) != 16 * rows or digest_bytes(numbers).encode() != digest:
        return None
    return np.frombuffer(numbers, dtype="<f8").reshape(rows, 2)
