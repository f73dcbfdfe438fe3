"""Checkpoints: all that a run needs to go on bit for bit, written so that a crash at any moment leaves a whole one.

Place on the road: inside the loop. A checkpoint is a folder ``step-00000042`` with ``state.safetensors`` (adapter,
optimizer moments, random state) and ``checkpoint.json`` (step, counters, digest of the state file, digest of the run's
inputs, and a digest of all these). It is written beside its place, forced to disk and renamed. The best weights so far
lie apart from those, in ``best-00000042``, which holds the same two files without what only going on needs. Knows no
model.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuneward.digests import digest_file, digest_value
from tuneward.domain.run import CHECKPOINT, Checkpoint
from tuneward.errors import Fault, TrainingError

STATE_FILE, NOTE_FILE = "state.safetensors", "checkpoint.json"
STEP, BEST = CHECKPOINT, "best-"
KEPT = 2


@dataclass(frozen=True)
class State:
    """What a checkpoint holds.

    Attributes:
        step: optimizer steps done; with rows, settings and seed it fixes what comes next.
        tensors: name → tensor.
        counters: tokens, seconds and the like, as plain JSON.
        best_step: the step of the best weights, which the checkpoint counts on being kept; None where none are.
    """

    step: int
    tensors: Mapping[str, Tensor]
    counters: Mapping[str, Any]
    best_step: int | None = None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; created if missing.
        inputs_digest: digest of everything that the run depends on.
    """

    def __init__(self, folder: Path, inputs_digest: str) -> None:
        self.folder = folder
        self.inputs_digest = inputs_digest

    def write(self, state: State) -> Checkpoint:
        """Write ``state``, then remove all but the newest two; the best are not counted.

        Raises:
            TrainingError: it cannot be written (no space, no permission); older checkpoints are untouched.
        """
        written = self._place(state, STEP)
        for old in self._names(STEP)[:-KEPT]:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        return written

    def write_best(self, state: State) -> Checkpoint:
        """Write the best weights so far, then remove what neither they nor a kept checkpoint counts on.

        Raises:
            TrainingError: see :meth:`write`; the best before are untouched.
        """
        written = self._place(state, BEST)
        notes = [self._note(self.folder / name) for name in self._names(STEP)]
        wanted = {written.folder, *(_name(BEST, note["best_step"]) for note in notes if note.get("best_step"))}
        for old in self._names(BEST):
            if old not in wanted:
                shutil.rmtree(self.folder / old, ignore_errors=True)
        return written

    def best(self, step: int) -> State:
        """The best weights, which are those of ``step``.

        Raises:
            TrainingError: they are damaged or gone, or belong to other inputs.
        """
        place = self.folder / _name(BEST, step)
        state = self._read(place)
        if state is None:
            cure = f"remove {self.folder} to train again from the first step"
            raise TrainingError(Fault("TW-TRAIN-011", f"the best weights, of step {step}", str(place), cure))
        return state

    def _place(self, state: State, kind: str) -> Checkpoint:
        name = _name(kind, state.step)
        place, temporary = self.folder / name, self.folder / f".writing-{name}-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            temporary.mkdir()
            # straight from the tensors: a copy of all moments would be the highest memory of a run of every weight
            save_file(
                {key: tensor.detach().cpu().contiguous() for key, tensor in state.tensors.items()},
                temporary / STATE_FILE,
            )
            _sync(temporary / STATE_FILE)
            digest = digest_file(temporary / STATE_FILE)
            note = {
                "step": state.step,
                "digest": digest,
                "inputs_digest": self.inputs_digest,
                "counters": dict(state.counters),
                "best_step": state.best_step,
            }
            note["note_digest"] = digest_value(note)
            _write(temporary / NOTE_FILE, (json.dumps(note, indent=2) + "\n").encode())
            _sync(temporary)
            if place.exists():  # left by a run that went on from an older one; ours is newer
                shutil.rmtree(place)
            temporary.rename(place)
            _sync(self.folder)
        except (OSError, SafetensorError) as error:  # the second is how the library tells of a full disk
            shutil.rmtree(temporary, ignore_errors=True)
            why = error.strerror if isinstance(error, OSError) else None
            raise TrainingError(
                Fault(
                    "TW-TRAIN-009",
                    f"step {state.step} could not be saved: {why or error}; older checkpoints are kept",
                    str(self.folder),
                    "make room, then run the same command again: it goes on from the newest checkpoint",
                )
            ) from error
        return Checkpoint(step=state.step, folder=name, digest=digest)

    def newest(self) -> State | None:
        """The newest whole checkpoint, or None when there is none; damaged ones are passed over.

        Raises:
            TrainingError: a checkpoint belongs to other inputs, or there are some and every one is damaged.
        """
        names = self._names(STEP)
        for name in reversed(names):
            state = self._read(self.folder / name)
            if state is not None:
                return state
        if names:
            raise TrainingError(
                Fault(
                    "TW-TRAIN-011",
                    f"none of {', '.join(names)} is whole",
                    str(self.folder),
                    "remove the folder to start again from the first step",
                )
            )
        return None

    def _read(self, place: Path) -> State | None:
        try:
            note = json.loads((place / NOTE_FILE).read_text(encoding="utf-8"))
            if note.pop("note_digest") != digest_value(note) or digest_file(place / STATE_FILE) != note["digest"]:
                return None
            state = State(int(note["step"]), load_file(place / STATE_FILE), note["counters"], note.get("best_step"))
            owner = note["inputs_digest"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):  # no JSON of ours
            return None
        if owner != self.inputs_digest:
            raise TrainingError(
                Fault(
                    "TW-TRAIN-008",
                    "the checkpoint was made from other data, base or settings",
                    str(place),
                    "start a new run, or restore what the run was started with",
                )
            )
        return state

    def _note(self, place: Path) -> Mapping[str, Any]:
        try:
            note = json.loads((place / NOTE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _names(self, kind: str) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name.startswith(kind))

    def _sweep(self) -> None:
        """Remove what a killed writer left."""
        for entry in self.folder.glob(".writing-*"):
            shutil.rmtree(entry, ignore_errors=True)


def _name(kind: str, step: int) -> str:
    return f"{kind}{step:08d}"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
