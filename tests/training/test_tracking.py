"""Tracking: TensorBoard's files always, MLflow where its address is given; only figures and settings; ends no run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.mlflow_stand_in import stand_in
from tests.training.rows import PlainChat, write_rows
from tuneward.configuration import validate
from tuneward.errors import ConfigError
from tuneward.training import tracking
from tuneward.training.config import TrainingConfig
from tuneward.training.job import Job, train
from tuneward.training.tracking import EventFiles, Mlflow, Tracked, make_trackers

SETTINGS = {"precision": "fp32", "batch_tokens": 300, "adapter": {"rank": 4}, "validation": {"fraction": 0.2}}
STEP = {"event": "step", "loss": 1.5, "learning_rate": 0.1, "gradient_norm": 2.0, "tokens": 10}
STEP |= {"tokens_per_second": 3.0, "figures": {"accuracy": 0.5}}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def scalars(folder):
    """Name → [(step, value)], as TensorBoard shows them: what a later file purges is left out."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        data, at = path.read_bytes(), 0
        while at < len(data):  # a TFRecord: length, its checksum, the event, its checksum
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            if event.session_log.status == 1:  # START: what later steps wrote before is purged
                found = {name: [(s, v) for s, v in values if s < event.step] for name, values in found.items()}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def run(base, tmp_path, stop=lambda: False, **settings):
    events = []
    rows = write_rows(tmp_path / "train.jsonl", 24)
    config = TrainingConfig(**SETTINGS | settings)
    outcome = train(
        Job(rows, base, "tiny", config, tmp_path / "run_1", "x"), PlainChat(base), emit=events.append, stop=stop
    )
    return outcome, events


def test_event_files_hold_every_step_and_measurement_once_also_after_a_stop(base, tmp_path):
    asked = iter([False] * 3)
    outcome, _ = run(base, tmp_path, stop=lambda: next(asked, True), epochs=2)
    assert outcome.status == "stopped"
    outcome, events = run(base, tmp_path, epochs=2)
    assert not [event for event in events if event["event"] == "warning"]
    found = scalars(tmp_path / "run_1" / "tensorboard")
    points = [json.loads(line) for line in outcome.curve.read_text().splitlines()]
    assert [step for step, _ in found["train/loss"]] == [point["step"] for point in points]
    assert [value for _, value in found["train/loss"]] == pytest.approx([point["loss"] for point in points], rel=1e-6)
    assert set(found) == {
        "validation/loss",
        *(f"train/{n}" for n in ("loss", "learning_rate", "gradient_norm", "tokens", "tokens_per_second")),
    }
    measured = [json.loads(line) for line in (tmp_path / "run_1" / "validation.jsonl").read_text().splitlines()]
    assert [step for step, _ in found["validation/loss"]] == [one["step"] for one in measured]


def test_mlflow_is_told_figures_and_settings_and_no_content(base, tmp_path):
    pytest.importorskip("mlflow")
    with stand_in() as server:
        outcome, events = run(base, tmp_path, tracking={"mlflow_uri": server.address, "mlflow_experiment": "cats"})
        assert not [event for event in events if event["event"] == "warning"]
        assert list(server.experiments) == ["cats"]
        assert [made["run_name"] for made in server.runs] == ["run_1"]
        points = [json.loads(line) for line in outcome.curve.read_text().splitlines()]
        sent = [(one["step"], one["value"]) for one in server.metrics if one["key"] == "train/loss"]
        assert sent == [(point["step"], pytest.approx(point["loss"])) for point in points]
        assert any(one["key"] == "validation/loss" for one in server.metrics)
        assert server.params["training.adapter.rank"] == "4"
        assert server.params["plan.rows"] == "24"
        assert any(path.endswith("runs/update") and body["status"] == "FINISHED" for path, body in server.told)
        said = json.dumps(server.told)
    assert "rec_" not in said
    for line in (tmp_path / "train.jsonl").read_text().splitlines():
        for message in json.loads(line)["messages"]:
            assert len(message["content"]) < 8 or message["content"] not in said


def test_a_run_that_goes_on_stays_one_mlflow_run(base, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    with stand_in() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        asked = iter([False] * 3)
        assert run(base, tmp_path, stop=lambda: next(asked, True))[0].status == "stopped"
        assert not any(path.endswith("runs/update") for path, _ in server.told)
        outcome, events = run(base, tmp_path)
        assert outcome.status == "finished"
        assert not [event for event in events if event["event"] == "warning"]
        assert len(server.runs) == 1
        assert any(path.endswith("runs/update") for path, _ in server.told)


@pytest.mark.parametrize("how", ["refuses", "is gone", "never answers"])
def test_a_server_that_fails_is_one_warning_and_the_run_is_the_same(base, tmp_path, monkeypatch, how):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "PATIENCE_SECONDS", 0.5 if how == "never answers" else 20.0)
    plain, _ = run(base, tmp_path / "plain")
    with stand_in(broken=how == "refuses") as server:
        address = server.address if how != "is gone" else "http://127.0.0.1:9"
        if how == "never answers":
            monkeypatch.setattr(Mlflow, "_enter", lambda self, client: time.sleep(3))
        started = time.monotonic()
        outcome, events = run(base, tmp_path / "tracked", tracking={"mlflow_uri": address})
    warnings = [event["text"] for event in events if event["event"] == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("MLflow is told no more (")
    assert time.monotonic() - started < 30
    ours, theirs = ((o.adapter / "adapter_model.safetensors").read_bytes() for o in (outcome, plain))
    assert ours == theirs


class Angry:
    name = "Angry"

    def __init__(self):
        self.asked = 0

    def __getattr__(self, name):
        self.asked += 1
        raise RuntimeError("no\nsecond line")


def test_who_fails_is_told_no_more_and_the_others_go_on(tmp_path):
    events, angry, files = [], Angry(), EventFiles(tmp_path / "events")
    tracked = Tracked(events.append, [angry, files])
    for step in (1, 2, 3):
        tracked({**STEP, "step": step})
    tracked.close(finished=True)
    assert angry.asked == 1
    assert [event["event"] for event in events] == ["step", "warning", "step", "step"]
    assert events[1]["text"] == "Angry is told no more (no); the run goes on without it"
    assert scalars(tmp_path / "events")["train/accuracy"] == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_a_missing_library_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    events = []
    config = TrainingConfig(tracking={"mlflow_uri": "http://127.0.0.1:9"})
    tracked = Tracked(events.append, make_trackers(config, tmp_path))
    for step in (1, 2, 3):
        tracked({**STEP, "step": step})
    tracked.close(finished=True)
    texts = sorted(event["text"] for event in events if event["event"] == "warning")
    assert len(texts) == 2
    assert "pip install 'tuneward[mlflow]'" in texts[0]
    assert texts[1].startswith("TensorBoard")


def test_who_is_asked(tmp_path, monkeypatch):
    assert [t.name for t in make_trackers(TrainingConfig(), tmp_path)] == ["TensorBoard"]
    monkeypatch.setattr(Mlflow, "_work", lambda self: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert [t.name for t in make_trackers(TrainingConfig(), tmp_path)] == ["TensorBoard", "MLflow"]


def test_an_address_with_a_key_is_refused_and_not_repeated():
    with pytest.raises(ConfigError) as caught:
        validate({"tracking": {"mlflow_uri": "https://ada:s3cret@example.org"}}, TrainingConfig)
    (fault,) = caught.value.faults
    assert fault.code == "TW-CONF-004"
    assert "MLFLOW_TRACKING_PASSWORD" in fault.message
    assert "s3cret" not in str(fault)


WATCHED = """
import os, socket, sys
reached = []
whole = socket.socket.connect

def connect(self, address):
    reached.append(address)
    return whole(self, address)

socket.socket.connect = connect
asked = []
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: asked.append(host) or resolve(host, *rest, **named)
os.environ.pop("MLFLOW_DISABLE_TELEMETRY", None)
os.environ.pop("DO_NOT_TRACK", None)
from pathlib import Path
from tuneward.training.tracking import Mlflow
run = Mlflow(sys.argv[1], experiment="e", run="r", note=Path(sys.argv[2]))
run.figures(1, {"loss": 1.0})
run.close(finished=True)
import mlflow.telemetry.client
assert mlflow.telemetry.client.get_telemetry_client() is None, "telemetry is on"
hosts = {a[0] for a in reached if isinstance(a, tuple)} | set(asked)
print(sorted(str(h) for h in hosts))
"""


def test_mlflow_speaks_to_its_server_and_to_nobody_else(tmp_path):
    pytest.importorskip("mlflow")
    silent = {"CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION"}  # MLflow would be silent for these alone
    allowing = {name: value for name, value in os.environ.items() if name not in silent}
    with stand_in() as server:
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, server.address, str(tmp_path / "note")],
            capture_output=True,
            text=True,
            env=allowing | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "['127.0.0.1']"
        assert all(path.startswith("/api/2.0/mlflow/") for path, _ in server.told)
        assert [one["key"] for one in server.metrics] == ["loss"]


def test_an_address_in_a_foreign_error_loses_its_name_and_key():
    class Broken:
        name = "MLflow"

        def flush(self):
            raise RuntimeError("request to https://bob:secret@mlflow.corp/api failed")

    events = []
    Tracked(events.append, [Broken()])({"event": "checkpoint", "step": 1})
    assert "https://mlflow.corp/api failed" in events[-1]["text"]
    assert "secret" not in str(events)
