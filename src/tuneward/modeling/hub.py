"""Hub: fetches a model's files at one commit from a Hugging Face hub, or a mirror with the same file routes.

Place on the road: one of the sources of ``pull``, and besides pip the only place that opens a connection to the
outside. A small client of our own instead of huggingface_hub, because the process keeps that library offline
(``settings``), and because every byte has to be checked against what the hub states: git's blob id, or the sha256 of
large files.

Routes: ``GET /api/models/{id}/revision/{revision}?blobs=true`` and ``GET /{id}/resolve/{commit}/{file}``
(huggingface.co/docs/hub/api). Files come from the repository's root only; pickle files are never asked for.
"""

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tuneward.errors import Fault, ModelError
from tuneward.modeling.folder_check import INDEX, check_room, index_files, read_json
from tuneward.progress import Progress

ENDPOINT_VARIABLE, TOKEN_VARIABLE = "TUNEWARD_HUB_ENDPOINT", "TUNEWARD_HUB_TOKEN"
DEFAULT_ENDPOINT = "https://huggingface.co"
ATTEMPTS = 4
TIMEOUT_SECONDS = 30.0
#: Files beside the weights that are taken over.
SIDE_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|chat_template)\.json"
    r"|chat_template\.jinja|README\.md|(LICEN[SC]E|NOTICE|USE_POLICY|COPYING|CHANGES)(\.txt|\.md)?"
)
NETWORK_CURE = f"check the network or proxy, or name a mirror in {ENDPOINT_VARIABLE}; or copy the model's folder here"


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        model: ``org/name``.
        commit: full commit hash, whatever name was asked for.
        endpoint: the hub's address.
        files: name → size in bytes and expected digest of every file of the repository's root.
    """

    model: str
    commit: str
    endpoint: str
    files: Mapping[str, "RemoteFile"]


@dataclass(frozen=True)
class RemoteFile:
    """What the hub states about a file: one of the two digests is given."""

    size: int
    sha256: str | None
    git_blob: str | None


class Hub:
    """A connection to one hub; use it as a context manager.

    Raises:
        ModelError: from every method, if the hub cannot be reached, refuses, or sends other bytes than it states.
    """

    def __init__(self) -> None:
        self.endpoint = os.environ.get(ENDPOINT_VARIABLE, DEFAULT_ENDPOINT).rstrip("/")
        token = os.environ.get(TOKEN_VARIABLE)
        headers = {"User-Agent": "tuneward", **({"Authorization": f"Bearer {token}"} if token else {})}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True)

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def snapshot(self, model: str, revision: str) -> Snapshot:
        """Resolve a branch, tag or commit to its commit, and list the root's files."""
        place = f"{model}@{revision}"
        try:
            response = self._client.get(
                f"{self.endpoint}/api/models/{model}/revision/{revision.replace('/', '%2F')}", params={"blobs": "true"}
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error, place) from error
        self._check_status(response, place)
        try:
            answer = response.json()
            commit = str(answer["sha"])
            files = {s["rfilename"]: _remote_file(s) for s in answer["siblings"] if "/" not in s["rfilename"]}
        except (ValueError, KeyError, TypeError) as error:
            message = f"{self.endpoint} does not answer as a hub does"
            raise ModelError(Fault("TW-BASE-002", message, place, f"check {ENDPOINT_VARIABLE}")) from error
        if not re.fullmatch(r"[0-9a-f]{40}", commit) or (
            re.fullmatch(r"[0-9a-f]{40}", revision) and commit != revision
        ):
            message = f"the hub gives commit {commit!r} for {revision!r}"
            raise ModelError(Fault("TW-BASE-004", message, place, "name another mirror"))
        return Snapshot(model=model, commit=commit, endpoint=self.endpoint, files=files)

    def fetch(self, snapshot: Snapshot, into: Path, *, progress: Progress) -> dict[str, str]:
        """Download the model's files into ``into``; gives each file's SHA-256."""
        place = f"{snapshot.model}@{snapshot.commit}"
        names = [name for name in snapshot.files if SIDE_FILES.fullmatch(name)]
        digests = {}
        if INDEX in snapshot.files:
            digests[INDEX] = self._fetch_file(snapshot, INDEX, into, progress=progress)
            weights = index_files(read_json(into / INDEX))
        else:
            weights = ["model.safetensors"]
        missing = [name for name in weights if name not in snapshot.files]
        if missing:
            pickles = any(name.endswith((".bin", ".pt", ".pth")) for name in snapshot.files)
            message = f"the repository has no {', '.join(missing)}" + (", only pickle files" if pickles else "")
            cure = "take a revision or model with safetensors weights; pickle files can run code and are never fetched"
            raise ModelError(Fault("TW-BASE-009" if pickles else "TW-BASE-006", message, place, cure))
        total = sum(snapshot.files[name].size for name in (*names, *weights))
        check_room(into, total)
        progress.begin(f"fetching {snapshot.model}", total=total, unit="B")
        for name in (*names, *weights):
            digests[name] = self._fetch_file(snapshot, name, into, progress=progress)
        progress.end()
        return digests

    def _fetch_file(self, snapshot: Snapshot, name: str, into: Path, *, progress: Progress) -> str:
        remote, target = snapshot.files[name], into / name
        place = f"{snapshot.model}@{snapshot.commit}/{name}"
        url = f"{snapshot.endpoint}/{snapshot.model}/resolve/{snapshot.commit}/{name}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._stream(url, target, place, progress=progress)
                break
            except httpx.TransportError as error:  # the line broke: go on where it did
                if attempt == ATTEMPTS:
                    raise self._unreachable(error, place) from error
                time.sleep(0.2 * attempt)
        sha256 = hashlib.sha256()
        git = hashlib.sha1(b"blob %d\0" % target.stat().st_size, usedforsecurity=False)
        with target.open("rb") as handle:
            while block := handle.read(1 << 20):
                sha256.update(block)
                git.update(block)
        stated = remote.sha256 or remote.git_blob
        found = sha256.hexdigest() if remote.sha256 else git.hexdigest()
        if stated != found or target.stat().st_size != remote.size:
            message = (
                f"{target.stat().st_size} bytes with digest {found} came, the hub states {remote.size} and {stated}"
            )
            raise ModelError(Fault("TW-BASE-004", message, place, "pull again; if it stays, name another mirror"))
        return sha256.hexdigest()

    def _stream(self, url: str, target: Path, place: str, *, progress: Progress) -> None:
        have = target.stat().st_size if target.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it is here; its digest decides
            self._check_status(response, place)
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            with target.open("ab" if resumed else "wb") as handle:
                for block in response.iter_bytes():
                    handle.write(block)
                    progress.advance(len(block))

    def _check_status(self, response: httpx.Response, place: str) -> None:
        if response.is_success:
            return
        status = response.status_code
        if status in (401, 403):
            cure = f"accept the model's terms at the hub, and put a token that may read it into {TOKEN_VARIABLE}"
            raise ModelError(Fault("TW-BASE-003", f"the hub refuses access ({status})", place, cure))
        if status == httpx.codes.NOT_FOUND:
            cure = "check the model's name and revision at the hub"
            raise ModelError(Fault("TW-BASE-003", "the hub knows no such model, revision or file", place, cure))
        raise ModelError(Fault("TW-BASE-002", f"{self.endpoint} answers with status {status}", place, NETWORK_CURE))

    def _unreachable(self, error: httpx.HTTPError, place: str) -> ModelError:
        message = f"{self.endpoint} cannot be reached: {type(error).__name__}"
        return ModelError(Fault("TW-BASE-002", message, place, NETWORK_CURE))


def _remote_file(sibling: Mapping[str, Any]) -> RemoteFile:
    large = sibling.get("lfs") or {}
    sha256, blob = large.get("sha256"), sibling.get("blobId")
    if not sha256 and not blob:
        raise KeyError("blobId")
    return RemoteFile(size=int(large.get("size", sibling["size"])), sha256=sha256, git_blob=blob)
