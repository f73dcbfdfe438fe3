"""Any time: is this machine and this site fit for the road? Every check says what it saw and, if bad, the cure."""

import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuneward.errors import TunewardError
from tuneward.governance.keys import Keys
from tuneward.modeling.machine import Machine, look
from tuneward.storage.site import Site
from tuneward.workflows.project import PROJECT_FILE, load_project

GIB = 1 << 30
#: The smallest base of the catalogue peaks below this while training; see docs/performance.md.
MEMORY_WANTED_BYTES = 4 * GIB
DISK_WANTED_BYTES = 2 * GIB
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what was looked at.
        verdict: ``ok``, ``note`` (works, but slowly or later not) or ``bad``.
        says: what was seen.
        cure: what helps; empty when ok.
    """

    name: str
    verdict: str
    says: str
    cure: str = ""


@dataclass(frozen=True)
class DoctorResult:
    """All checks.

    Attributes:
        healthy: True when no check is bad.
        checks: every check, in order.
        next: the command that comes next.
    """

    healthy: bool
    checks: tuple[Check, ...]
    next: str


def doctor(folder: Path) -> DoctorResult:
    """Check Python, torch, processor or GPU, memory, disk, packages, site, keys and project. Never raises."""
    machine = look(folder)
    checks = (
        _python(),
        _torch(machine),
        _processor(machine),
        *_kernels(machine),
        _amount("memory", machine.memory_bytes, MEMORY_WANTED_BYTES, "close other programs or take a smaller base"),
        _amount("disk", machine.disk_bytes, DISK_WANTED_BYTES, "free some space or point TUNEWARD_SITE elsewhere"),
        _packages(),
        *_site(folder),
        _project(folder),
    )
    healthy = all(check.verdict != "bad" for check in checks)
    begun = (folder / PROJECT_FILE).exists()
    follows = ("tuneward status" if begun else "tuneward init") if healthy else "cure what is bad, then tuneward doctor"
    return DoctorResult(healthy, checks, follows)


def _python() -> Check:
    says = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("Python", "bad", says, "use Python 3.11 or newer")
    return Check("Python", "ok", says)


def _torch(machine: Machine) -> Check:
    if machine.torch is None:
        return Check("torch", "bad", "cannot be imported", "pip install -c constraints.txt torch")
    if tuple(int(part) for part in machine.torch.split("+")[0].split(".")[:2]) < (2, 8):
        return Check("torch", "bad", machine.torch, "pip install -c constraints.txt torch (2.8 or newer)")
    return Check("torch", "ok", machine.torch)


def _processor(machine: Machine) -> Check:
    says = f"{machine.device}, {machine.threads} threads, " + ("bf16" if machine.native_bf16 else "no native bf16")
    if machine.native_bf16:
        return Check("processor", "ok", says)
    return Check("processor", "note", says, "everything runs in fp32, two to five times slower than with bf16")


def _kernels(machine: Machine) -> tuple[Check, ...]:
    if machine.kernels is None:
        return ()
    if machine.kernels:
        return (Check("kernels", "ok", "compiled for this processor"),)
    cure = (
        "install a C compiler (gcc or clang) and Tuneward once more: training here is about a quarter faster with them"
    )
    return (
        Check(
            "kernels",
            "note",
            "none: there was no C compiler when Tuneward was installed, or they are of another version",
            cure,
        ),
    )


def _amount(name: str, found: int, wanted: int, cure: str) -> Check:
    says = f"{found / GIB:.1f} GiB free"
    if found < wanted:
        return Check(name, "bad", f"{says}, {wanted / GIB:.0f} wanted", cure)
    return Check(name, "ok", says)


def _packages() -> Check:
    absent = []
    try:
        requirements = importlib.metadata.requires("tuneward") or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", "note", "Tuneward runs from its source tree", "pip install -c constraints.txt -e .")
    for requirement in requirements:
        name = requirement.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip()
        if "extra ==" in requirement:
            continue
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        return Check("packages", "bad", f"missing: {', '.join(absent)}", "pip install -c constraints.txt tuneward")
    return Check("packages", "ok", "all there")


def _site(folder: Path) -> tuple[Check, ...]:
    found = Site.find(folder)
    if found is None:
        return (Check("site", "note", "none here", "tuneward init"),)

    def keys() -> str:
        return f"signing key {Keys.open(site.keys_folder).key_id}, readable by its owner only"

    def whole() -> str:
        site.database.check()
        return str(found)

    try:
        site = Site.open(found)
    except TunewardError as error:
        return (Check("site", "bad", error.faults[0].message, error.faults[0].cure),)
    return (_guarded("site", whole), _guarded("keys", keys))


def _project(folder: Path) -> Check:
    if not (folder / PROJECT_FILE).exists():
        return Check("project", "note", f"no {PROJECT_FILE} here", "tuneward init")
    return _guarded("project", lambda: f"{load_project(folder).project}: all settings valid")


def _guarded(name: str, look_at: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look_at())
    except TunewardError as error:
        return Check(name, "bad", "; ".join(fault.message for fault in error.faults), error.faults[0].cure)
