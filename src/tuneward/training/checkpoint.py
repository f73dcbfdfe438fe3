"""Checkpoints: all that a run needs to go on bit for bit, written so that a crash at any moment leaves a whole one.

Place on the road: inside the loop. A checkpoint is a folder ``step-00000042`` with ``state.safetensors`` (adapter,
optimizer moments, random state) and ``checkpoint.json`` (step, counters, digest of the state file, digest of the run's
inputs). It is written beside its place, forced to disk and renamed. Knows no model.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from tuneward.digests import digest_bytes
from tuneward.domain.run import Checkpoint
from tuneward.errors import Fault, TrainingError

STATE_FILE, NOTE_FILE = "state.safetensors", "checkpoint.json"
KEPT = 2


@dataclass(frozen=True)
class State:
    """What a checkpoint holds.

    Attributes:
        step: optimizer steps done; with rows, settings and seed it fixes what comes next.
        tensors: name → tensor.
        counters: tokens, seconds and the like, as plain JSON.
    """

    step: int
    tensors: Mapping[str, Tensor]
    counters: Mapping[str, Any]


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
        """Write ``state``, then remove all but the newest two.

        Raises:
            TrainingError: it cannot be written (no space, no permission); older checkpoints are untouched.
        """
        name = f"step-{state.step:08d}"
        place, temporary = self.folder / name, self.folder / f".writing-{name}-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            data = save({key: tensor.detach().cpu().contiguous() for key, tensor in state.tensors.items()})
            digest = digest_bytes(data)
            note = {
                "step": state.step,
                "digest": digest,
                "inputs_digest": self.inputs_digest,
                "counters": dict(state.counters),
            }
            temporary.mkdir()
            _write(temporary / STATE_FILE, data)
            _write(temporary / NOTE_FILE, (json.dumps(note, indent=2) + "\n").encode())
            _sync_folder(temporary)
            if place.exists():  # left by a run that went on from an older one; ours is newer
                shutil.rmtree(place)
            temporary.rename(place)
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise TrainingError(
                Fault(
                    "TW-TRAIN-009",
                    f"step {state.step} could not be saved: {error.strerror or error}; older checkpoints are kept",
                    str(self.folder),
                    "make room, then run the same command again: it goes on from the newest checkpoint",
                )
            ) from error
        for old in self._names()[:-KEPT]:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        return Checkpoint(step=state.step, folder=name, digest=digest)

    def newest(self) -> State | None:
        """The newest whole checkpoint, or None when there is none; damaged ones are passed over.

        Raises:
            TrainingError: a checkpoint belongs to other inputs, or there are some and every one is damaged.
        """
        names = self._names()
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
            data = (place / STATE_FILE).read_bytes()
            if digest_bytes(data) != note["digest"]:
                return None
            state = State(step=int(note["step"]), tensors=load(data), counters=note["counters"])
            owner = note["inputs_digest"]
        except (OSError, ValueError, KeyError, TypeError):
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

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name.startswith("step-"))

    def _sweep(self) -> None:
        """Remove what a killed writer left."""
        for entry in self.folder.glob(".writing-*"):
            shutil.rmtree(entry, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
