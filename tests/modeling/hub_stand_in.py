"""A hub on loopback: the two routes that ``modeling.hub`` asks, over folders in memory; it can lie and break off."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "acme/tiny"


class HubStandIn:
    """What the hub holds, what it was asked for, and how it misbehaves.

    Attributes:
        breaks: file → how often a download of it is cut in the middle.
        lies: file → bytes that are sent instead of the stated ones.
        status: answer to every request, if set.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {file.name: file.read_bytes() for file in folder.iterdir()}
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.tokens: list[str | None] = []
        self.breaks: dict[str, int] = {}
        self.lies: dict[str, bytes] = {}
        self.status: int | None = None
        self.commit = COMMIT
        self.url = ""

    def listing(self) -> dict:
        siblings = []
        for name, data in self.files.items():
            entry = {"rfilename": name, "size": len(data)}
            if name.endswith((".safetensors", ".bin")):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
                entry["blobId"] = "f" * 40  # of the pointer, not of the file
            else:
                entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings.append(entry)
        return {"sha": self.commit, "siblings": siblings}

    @contextmanager
    def serve(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.tokens.append(self.headers.get("Authorization"))
                address = urlparse(self.path)
                if hub.status:
                    return self.answer(hub.status, b"{}")
                if address.path.startswith("/api/models/"):
                    model, revision = address.path.removeprefix("/api/models/").split("/revision/")
                    known = model == MODEL and unquote(revision) in ("main", "v/1", COMMIT, hub.commit)
                    assert parse_qs(address.query)["blobs"] == ["true"]
                    return self.answer(200 if known else 404, json.dumps(hub.listing()).encode())
                model, _, name = address.path.removeprefix("/").partition(f"/resolve/{hub.commit}/")
                if model != MODEL or name not in hub.files:
                    return self.answer(404, b"")
                hub.asked.append(name)
                data, begin, status = hub.lies.get(name, hub.files[name]), 0, 200
                if wanted := self.headers.get("Range"):
                    hub.ranges.append(wanted)
                    begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
                if hub.breaks.get(name, 0) > 0:
                    hub.breaks[name] -= 1
                    return self.answer(status, data[begin:], sent=(len(data) - begin) // 2)
                return self.answer(status, data[begin:])

            def answer(self, status: int, data: bytes, sent: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[:sent])
                if sent is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
