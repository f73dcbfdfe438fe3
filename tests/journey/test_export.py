"""A version leaves the house as a copy: plain transformers loads it, the log tells of it, a bad one leaves nothing."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.journey.conftest import Walked
from tests.journey.test_full_disk import OWN_MOUNTS, _may_mount
from tests.journey.test_interruptions import SECONDS_TO_WAIT, start
from tuneward.domain.record import Message
from tuneward.errors import ConfigError, EvaluationError, StorageError
from tuneward.governance.audit import events
from tuneward.modeling import llama_cpp
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.chat import Chat
from tuneward.modeling.generate import generate
from tuneward.storage.lineage import parents
from tuneward.workflows.export import export
from tuneward.workflows.verify import verify

pytestmark = pytest.mark.journey

QUESTION = (Message("system", "Answer with the record."), Message("user", "test red 1 blue"))


def left_behind(project: Walked) -> list[Path]:
    site = project.folder / ".tuneward"
    return [*site.glob("runs/tmp*"), *site.glob("artifacts/tmp/*"), *project.folder.glob(".tuneward-export-*")]


def test_a_copy_loads_in_plain_transformers_and_answers_alike(copied, tmp_path: Path) -> None:
    project = copied()
    workspace = project.workspace()
    result = export(workspace, to=tmp_path / "out")
    version = project.result.of("register").version
    assert (result.paper["version"], result.paper["number"], result.reused) == (version.id, 1, False)
    assert (result.paper["adapter"], result.paper["base"]) == (version.adapter, version.base)
    check = result.paper["check"]
    assert check["reader"] == "transformers"
    assert check["tokens"] > 20
    assert check["same"] == check["tokens"]
    assert check["mean_kl"] < 1e-4
    assert check["interval"][0] < 1.0
    assert json.loads((tmp_path / "out" / "export.json").read_bytes()) == result.paper

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    chat = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = chat.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in QUESTION], add_generation_prompt=True, return_dict=False
    )
    with torch.no_grad():
        written = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :].tolist()
    base = load_base(project.folder / "base", precision="fp32")
    bank = AdapterBank(base)
    adapter = bank.load(load_adapter(Path(project.result.of("register").adapter)))
    ours = Chat.load(project.folder / "base")
    (told,) = generate(
        base, [ours.prompt_ids(QUESTION)], max_tokens=16, stop_ids=ours.stop_ids, bank=bank, adapters=[adapter]
    )
    assert ids == ours.prompt_ids(QUESTION)
    assert written[: len(told)] == told
    assert '"ok"' in ours.decode(told)


def test_it_is_an_artefact_with_edges_and_an_event_and_is_not_made_twice(copied, tmp_path: Path) -> None:
    project = copied()
    workspace = project.workspace()
    result = export(workspace)
    version = project.result.of("register").version
    with workspace.site.database.read() as c:
        above = parents(c, "export", result.artifact)
        (event,) = events(c, action="version.export")
    assert {(ref.kind, ref.id) for ref in above} == {("adapter", version.adapter), ("version", version.id)}
    assert (event.subject, event.decision, event.detail["export"]) == (version.id, "done", result.artifact)
    assert workspace.site.artifacts.check(result.artifact) == []
    assert verify(workspace.office, version.id).verified
    again = export(workspace, to=tmp_path / "out")
    assert (again.artifact, again.reused) == (result.artifact, True)
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert left_behind(project) == []


@pytest.mark.parametrize("type", ["bf16", "f16", "q8_0"])
def test_a_gguf_copy_is_checked_by_whoever_can_read_it(copied, tmp_path: Path, type: str) -> None:
    result = export(copied().workspace(), format="gguf", type=type, to=tmp_path / "out")
    check = result.paper["check"]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "LICENSE",
        "NOTICE",
        "export.json",
        "model.gguf",
    }
    assert result.paper["type"] == type
    assert check["mean_kl"] < 0.02
    if llama_cpp.installed():
        assert (check["reader"], check["rows_read_alike"]) == ("llama.cpp", check["rows"])
    else:
        assert "dequantised" in check["reader"]
        assert check["rows_read_alike"] is None


def test_a_run_that_is_not_registered_is_exported_without_a_version(copied) -> None:
    project = copied()
    workspace = project.workspace()
    with workspace.site.database.write() as c:
        for table in ("deployment", "version"):
            c.exec_driver_sql(f"DELETE FROM {table}")
    result = export(workspace)
    assert (result.paper["version"], result.paper["run"]) == (None, project.result.of("train").run.id)


def test_a_copy_beyond_the_limits_leaves_nothing_and_the_log_says_so(copied, tmp_path: Path) -> None:
    project = copied()
    settings = project.folder / "tuneward.yaml"
    settings.write_text(settings.read_text() + "export: {max_mean_kl: 1.0e-12}\n")
    workspace = project.workspace()
    with pytest.raises(EvaluationError) as caught:
        export(workspace, type="bf16", to=tmp_path / "out")
    (fault,) = caught.value.faults
    assert fault.code == "TW-REG-010"
    assert "mean KL is" in fault.message
    assert not (tmp_path / "out").exists()
    assert left_behind(project) == []
    with workspace.site.database.read() as c:
        (event,) = events(c, action="version.export")
    assert (event.decision, event.detail["faults"]) == ("refused", ["TW-REG-010"])


def test_a_taken_folder_and_a_foreign_type_are_refused_before_any_work(copied, tmp_path: Path) -> None:
    workspace = copied().workspace()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="TW-REG-012"):
        export(workspace, to=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match="TW-CONF-007"):
        export(workspace, type="q8_0")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_an_interrupted_export_leaves_nothing_and_the_same_command_works(copied, tmp_path: Path, end) -> None:
    project = copied()
    process = start(project.folder, "export", "--to", str(tmp_path / "out"))
    until = time.monotonic() + SECONDS_TO_WAIT
    while not list(project.folder.glob(".tuneward/runs/tmp*/copy/*")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(end)
    code = process.wait(timeout=SECONDS_TO_WAIT)
    assert code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    if end == signal.SIGKILL:
        time.sleep(1.5)  # the child sees within half a second that its parent is gone
    result = export(project.workspace(), to=tmp_path / "out")
    assert not result.reused
    assert (tmp_path / "out" / "export.json").is_file()
    assert left_behind(project) == []


@pytest.mark.skipif(not _may_mount(), reason="this machine lets no test mount a small disk")
def test_a_full_disk_at_the_target_leaves_nothing_there_and_says_so(copied, tmp_path: Path) -> None:
    project, disk = copied(), tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=128k tmpfs {disk} && "
        f"{shutil.which('python3') if False else '$PYTHON'} -m tuneward.cli.main export --project {project.folder} "
        f"--to {disk}/out; code=$?; ls -A {disk}; exit $code"
    )
    import os
    import sys

    done = subprocess.run(
        [*OWN_MOUNTS, "sh", "-c", script], capture_output=True, text=True,
        env={**os.environ, "PYTHON": sys.executable, "TUNEWARD_ACTOR": "ada"},
    )  # fmt: skip
    assert done.returncode == StorageError.exit_code, done.stderr
    assert done.stdout.strip() == ""
    assert "free some" in done.stderr
    again = export(project.workspace(), to=tmp_path / "out")
    assert again.reused, "the checked copy stands in the store"
