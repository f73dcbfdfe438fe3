import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuneward.digests import canonical_json, digest_bytes, digest_value
from tuneward.errors import ProofError, StorageError
from tuneward.storage.artifacts import Artifacts
from tuneward.storage.staging import staging
from tuneward.storage.stamps import Stamp, write_stamps

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "sub/deep/a.txt": b"", "sub/same.json": b"{}"}


@pytest.fixture
def store(tmp_path):
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "made", FILES)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def overwrite(path: Path, data: bytes) -> None:
    """As somebody would who does not mind a file's mode."""
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path) -> None:
    data = path.read_bytes()
    overwrite(path, data[:-1] + bytes([data[-1] ^ 1]))


def test_bytes_and_files_are_named_by_their_digest(store, tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    digest = digest_bytes(b"abc")
    assert store.put_bytes(b"abc") == store.put_file(tmp_path / "f") == digest
    assert store.read(digest) == b"abc"
    assert store.path(digest).stat().st_mode & 0o777 == 0o444
    assert store.has(digest)
    assert store.check(digest) == []
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_tree_comes_back_as_it_was(store, folder):
    digest = store.put_tree(folder)
    manifest = {name: {"digest": digest_bytes(data), "bytes": len(data)} for name, data in FILES.items()}
    assert digest == digest_value(manifest)
    assert store.manifest(digest) == manifest
    assert store.has(digest)
    made = store.tree(digest)
    assert read(made) == FILES
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in made.rglob("*") if path.is_file())
    assert store.check(digest) == []
    assert store.put_tree(made) == digest  # what was handed out is the same tree
    assert store.tree(digest) == made


def test_trees_share_their_bytes_on_disk(store, folder):
    made = store.tree(store.put_tree(folder))
    blob = store.path(digest_bytes(FILES["model.safetensors"]))
    assert (made / "model.safetensors").stat().st_ino == blob.stat().st_ino


def without_links(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("links", [True, False])
def test_check_finds_every_change_in_a_handed_out_tree(store, folder, monkeypatch, links):
    if not links:
        without_links(monkeypatch)
    digest = store.put_tree(folder)
    made = store.tree(digest)
    assert read(made) == FILES
    flip(made / "model.safetensors")
    (made / "config.json").unlink()
    (made / "evil.py").write_bytes(b"x")
    (made / "link").symlink_to("/etc")
    faults = store.check(digest)
    assert {fault for fault in faults if "folder" in fault} == {
        "model.safetensors: changed in the folder",
        "config.json: missing in the folder",
        "evil.py: extra in the folder",
        "link: extra in the folder",
    }
    # a hard link shares its bytes with the blob, a copy does not
    assert ("model.safetensors: changed in the store" in faults) is links
    with pytest.raises(ProofError) as caught:
        store.tree(digest)
    assert {fault.message.split(":")[0] for fault in caught.value.faults} == {"model.safetensors", "evil.py", "link"}


@pytest.mark.parametrize("links", [True, False])
def test_check_finds_a_changed_blob(store, folder, monkeypatch, links):
    if not links:
        without_links(monkeypatch)
    digest = store.put_tree(folder)
    store.tree(digest)
    blob = digest_bytes(FILES["model.safetensors"])
    flip(store.path(blob))
    assert store.check(blob) == [f"{blob}: changed"]
    assert "model.safetensors: changed in the store" in store.check(digest)
    assert ("model.safetensors: changed in the folder" in store.check(digest)) is links
    with pytest.raises(ProofError):
        store.read(blob)


def test_tree_sees_a_changed_byte_of_the_same_size_and_time(store, folder):
    digest = store.put_tree(folder)
    path = store.tree(digest) / "model.safetensors"
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ProofError, match=r"TW-PROOF-001.*model\.safetensors"):
        store.tree(digest)


def test_tree_hashes_nothing_twice(store, folder, monkeypatch):
    digest = store.put_tree(folder)
    store.tree(digest)
    monkeypatch.setattr("tuneward.storage.artifacts.digest_file", lambda path: pytest.fail(f"hashed {path}"))
    store.tree(digest)


def test_forged_stamps_do_not_fool_check(store, folder):
    digest = store.put_tree(folder)
    path = store.tree(digest) / "model.safetensors"
    flip(path)
    stamps = {name: Stamp.of((path.parent / name).lstat()) for name in FILES}
    write_stamps(store.folder / "stamps" / digest, stamps)
    store.tree(digest)  # handed out on the word of the stamps
    assert "model.safetensors: changed in the folder" in store.check(digest)


def test_missing_files_are_made_again(store, folder):
    digest = store.put_tree(folder)
    (store.tree(digest) / "sub/deep/a.txt").unlink()
    assert read(store.tree(digest)) == FILES
    (store.folder / "stamps" / digest).write_bytes(b"not json")
    assert read(store.tree(digest)) == FILES


def test_storing_again_heals(store, folder):
    digest = store.put_tree(folder)
    flip(store.tree(digest) / "model.safetensors")
    assert store.put_tree(folder) == digest
    assert store.check(digest) == []
    assert read(store.tree(digest)) == FILES


def test_a_tree_is_not_made_from_a_changed_blob(store, folder):
    digest = store.put_tree(folder)
    flip(store.path(digest_bytes(FILES["model.safetensors"])))
    with pytest.raises(ProofError, match=r"model\.safetensors"):
        store.tree(digest)
    assert list((store.folder / "trees").iterdir()) == []


def test_what_is_not_there_is_said(store, folder):
    digest = store.put_tree(folder)
    for ask in (store.read, store.path, store.tree, store.manifest):
        with pytest.raises(StorageError, match="TW-STOR-009"):
            ask("0" * 64)
    assert store.check("0" * 64) == ["0" * 64 + ": missing"]
    blob = store.path(digest_bytes(FILES["model.safetensors"]))
    blob.unlink()
    assert store.check(digest) == ["model.safetensors: missing in the store"]
    with pytest.raises(StorageError, match="TW-STOR-009"):
        store.tree(digest)


def test_a_blob_that_reads_like_a_manifest_is_no_tree(store):
    text = canonical_json({"../../evil": {"digest": "0" * 64, "bytes": 1}})
    digest = store.put_bytes(text)
    with pytest.raises(StorageError, match="TW-STOR-009"):
        store.tree(digest)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../b", "a//b", ".", "", "a\\..\\b", "a\0b"])
def test_a_manifest_whose_paths_leave_the_folder_is_refused(store, name):
    blob = store.put_bytes(b"x")
    text = canonical_json({name: {"digest": blob, "bytes": 1}})
    digest = digest_bytes(text)
    target = store.folder / "manifests" / digest[:2] / digest
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(text)
    with pytest.raises(StorageError, match="TW-STOR-011"):
        store.tree(digest)
    assert store.check(digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", 5, None])
def test_what_is_no_digest_is_refused(store, digest):
    for ask in (store.read, store.path, store.tree, store.manifest, store.check, store.has):
        with pytest.raises(StorageError, match="TW-STOR-010"):
            ask(digest)


def test_links_and_special_files_are_refused_all_at_once(store, folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "sub" / "dirlink").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo")
    (folder / os.fsdecode(b"bad\xff")).write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        store.put_tree(folder)
    assert {fault.code for fault in caught.value.faults} == {"TW-STOR-011"}
    assert len(caught.value.faults) == 4
    for path in (folder / "link", folder / "fifo", folder):
        with pytest.raises(StorageError, match=r"TW-STOR-01[12]"):
            store.put_file(path)
    (tmp_path / "to-folder").symlink_to(folder)
    for path in (tmp_path / "to-folder", tmp_path / "none", tmp_path / "secret"):
        with pytest.raises(StorageError, match="TW-STOR-011"):
            store.put_tree(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no file"):
        store.put_tree(tmp_path / "empty")
    assert read(store.folder) == {}


def test_a_disk_that_fills_at_any_moment_leaves_nothing_behind(store, folder, monkeypatch):
    """Every write to the disk fails in turn, until one attempt comes through."""
    earlier = store.put_bytes(b"earlier")
    before = read(store.folder)
    real, calls, failures = os.fsync, [0], 0
    for moment in range(1, 100):
        calls[0] = 0

        def full(descriptor: int, moment: int = moment) -> None:
            calls[0] += 1
            if calls[0] == moment:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        try:
            store.put_tree(folder)
            break
        except StorageError as error:
            codes = [fault.code for fault in error.faults]
        failures += 1
        assert codes == ["TW-STOR-007"]
        assert list((store.folder / "tmp").iterdir()) == []
        assert store.check(earlier) == []
        if moment <= len(FILES) + 1:  # before all bytes are on the disk, nothing is visible
            assert read(store.folder) == before
    assert failures > len(FILES)
    monkeypatch.undo()
    assert store.check(store.put_tree(folder)) == []
    assert store.read(earlier) == b"earlier"


def test_a_disk_that_fills_while_bytes_are_written(store, folder, monkeypatch):
    before = read(store.folder)
    real = Path.open

    class Full:
        def __init__(self, handle):
            self.handle = handle

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.handle.close()

        def write(self, data):
            self.handle.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(path, mode="r", *rest, **named):
        handle = real(path, mode, *rest, **named)
        return Full(handle) if "x" in mode else handle

    monkeypatch.setattr(Path, "open", full)
    for put, what in ((store.put_bytes, b"x"), (store.put_file, folder / "config.json"), (store.put_tree, folder)):
        with pytest.raises(StorageError, match="TW-STOR-007"):
            put(what)
    assert read(store.folder) == before


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_does_is_not(store):
    code = (
        "import os, signal, sys; from pathlib import Path; from tuneward.storage.artifacts import Artifacts\n"
        "from tuneward.storage.staging import staging\n"
        "with staging(Artifacts(Path(sys.argv[1])).folder / 'tmp') as folder:\n"
        "    (folder / 'half').write_bytes(b'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False)
    (dead,) = (store.folder / "tmp").iterdir()
    with staging(store.folder / "tmp") as living:
        Artifacts(store.folder)
        assert list((store.folder / "tmp").iterdir()) == [living]
        assert dead != living
    assert list((store.folder / "tmp").iterdir()) == []


def failing_disk(monkeypatch, number=errno.EIO):
    def fail(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("tuneward.storage.artifacts.digest_file", fail)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_is_a_finding_of_check(store, folder, monkeypatch, number):
    digest, blob = store.put_tree(folder), store.put_bytes(b"alone")
    store.tree(digest)
    failing_disk(monkeypatch, number)
    why = f"cannot be read ({os.strerror(number)})"
    assert store.check(blob) == [f"{blob}: {why}"]
    found = store.check(digest)
    assert f"model.safetensors: {why} in the store" in found
    assert f"model.safetensors: {why} in the folder" in found


def test_a_folder_that_cannot_be_listed_is_a_finding_of_check(store, folder, monkeypatch):
    digest = store.put_tree(folder)
    store.tree(digest)

    def fail(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("tuneward.storage.artifacts.names_under", fail)
    assert store.check(digest) == [f"{digest}: cannot be read (Permission denied) in the folder"]


def test_a_tree_that_cannot_be_read_is_no_changed_one_and_is_kept(store, folder, monkeypatch):
    digest = store.put_tree(folder)
    place = store.tree(digest)
    (store.folder / "stamps" / digest).unlink()
    failing_disk(monkeypatch)
    with pytest.raises(StorageError) as caught:
        store.tree(digest)
    assert {(fault.code, fault.place) for fault in caught.value.faults} == {
        ("TW-STOR-012", str(place / name)) for name in FILES
    }
    assert read(place) == FILES
