"""A server on loopback that answers as MLflow's tracking server does (REST API 2.0), and keeps what it was told."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    def __init__(self, *, broken=False):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.broken = broken
        self.told = []  # (path, body)
        self.experiments = {}
        self.metrics, self.params, self.runs = [], {}, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self._answer(json.loads(body or b"{}"))

    def _answer(self, body):
        server, path = self.server, self.path.partition("?")[0]
        server.told.append((self.path, body))
        if server.broken:
            self._send({"error_code": "INTERNAL_ERROR", "message": "broken on purpose"}, 500)
        elif path.endswith("experiments/get-by-name"):
            known = [name for name in server.experiments if f"experiment_name={name}" in self.path]
            if known:
                self._send({"experiment": {"experiment_id": server.experiments[known[0]], "name": known[0]}})
            else:
                self._send({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}, 404)
        elif path.endswith("experiments/create"):
            server.experiments[body["name"]] = "7"
            self._send({"experiment_id": "7"})
        elif path.endswith("runs/create"):
            server.runs.append(body)
            info = {"run_id": "abc", "run_uuid": "abc", "experiment_id": "7", "status": "RUNNING", "artifact_uri": "x"}
            self._send({"run": {"info": info, "data": {}}})
        elif path.endswith("runs/log-batch"):
            told = {one["key"]: one["value"] for one in body.get("params", [])}
            if any(server.params.get(key, value) != value for key, value in told.items()):  # as MLflow does
                self._send({"error_code": "INVALID_PARAMETER_VALUE", "message": "Changing param values"}, 400)
                return
            server.metrics += body.get("metrics", [])
            server.params |= told
            self._send({})
        elif path.endswith(("runs/update", "runs/get")):
            info = {"run_id": "abc", "run_uuid": "abc", "experiment_id": "7", "status": body.get("status", "RUNNING")}
            self._send({"run_info": info, "run": {"info": info, "data": {}}})
        else:
            self._send({"error_code": "ENDPOINT_NOT_FOUND", "message": path}, 404)

    def _send(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@contextmanager
def stand_in(*, broken=False):
    server = StandIn(broken=broken)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
