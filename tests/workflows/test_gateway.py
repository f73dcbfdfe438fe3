import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.serving.served_site import FAKE_ENGINE, ServedSite
from tests.serving.test_process import gone
from tuneward.domain.audit import LogCheckpoint
from tuneward.domain.law import Affected, Withdrawal
from tuneward.domain.version import Deployment
from tuneward.errors import Fault, GovernanceError, ProofError, ServingError, StorageError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change
from tuneward.governance.notes import origin, sign
from tuneward.ids import new_id
from tuneward.progress import Silent
from tuneward.serving.config import ServingConfig
from tuneward.storage.database import now
from tuneward.storage.lineage import Ref, link
from tuneward.storage.repository import find, insert_many
from tuneward.storage.site import Site
from tuneward.workflows.gateway import gateway
from tuneward.workflows.log import regular_checkpoints


def fine(site, keys, deployment):
    return []


ANY_PORT = ServingConfig(port=0)


@pytest.fixture
def served(tmp_path):
    made = ServedSite.make(tmp_path)
    made.deploy("claims")
    return made


def run(served, config=ANY_PORT, check=fine):
    return gateway(served.office, config, check=check, engine_command=FAKE_ENGINE)


def test_it_answers_inside_the_block_and_logs_start_and_stop(served):
    with run(served) as running:
        assert running.aliases == ("claims",)
        assert httpx.get(f"{running.url}/health", trust_env=False).json() == {"status": "ok"}
        pid = running._engines[0].pid
        running.check()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/health", trust_env=False)
    assert gone(pid)
    start, stop = served.events("gateway.start", "gateway.stop")
    assert (start.action, stop.action) == ("gateway.start", "gateway.stop")
    assert start.subject == stop.subject == running.id
    assert start.detail["port"] == running.port
    assert start.detail["deployments"][0]["adapter"] == running.routes[0].version.adapter
    with run(served):  # everything was given back
        pass


def checkpoints(served):
    with served.office.site.database.read() as c:
        return [row.size for row in find(c, LogCheckpoint)]


def test_its_end_is_covered_by_a_checkpoint(served):
    with run(served):
        assert checkpoints(served) == []
    (stop,) = served.events("gateway.stop")
    assert checkpoints(served) == [stop.seq + 1]


def test_the_log_is_signed_while_it_runs_where_events_were_added(served):
    started = gateway(served.office, ANY_PORT, check=fine, engine_command=FAKE_ENGINE, checkpoint_seconds=0.05)
    with started:
        (start,) = served.events("gateway.start")
        wait_until(lambda: checkpoints(served) == [start.seq + 1])
        note = served.office.site.log_folder / f"checkpoint-{start.seq + 1}.txt"
        signed_at = note.stat().st_mtime_ns
        time.sleep(0.3)  # several turns with nothing to sign
        assert note.stat().st_mtime_ns == signed_at
        with change(served.office, "key.revoke", "key_x"):
            pass
        wait_until(lambda: checkpoints(served) == [start.seq + 1, start.seq + 2])
    assert len(checkpoints(served)) == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "checkpoints"]


def test_a_log_that_cannot_be_signed_is_told_once_and_tried_again(served):
    office, said = served.office, Listener()
    checkpoint(office)
    older = served.office.site.log_folder / "checkpoint-1000.txt"
    older.write_text(sign(origin(office.site.id), 1000, "0" * 64, office.keys))
    with regular_checkpoints(office, every_seconds=0.02, progress=said):
        with change(office, "key.revoke", "key_x"):
            pass
        wait_until(lambda: said.lines)
        time.sleep(0.2)
        assert len(said.lines) == 1
        before = checkpoints(served)
        older.unlink()
        wait_until(lambda: checkpoints(served) != before)


class Listener(Silent):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_second_gateway_on_the_site_is_refused(served):
    site = Site.open(served.office.site.folder)
    other = replace(served, office=replace(served.office, site=site))
    with run(served), pytest.raises(StorageError, match="TW-STOR-005"), run(other):
        pass


def test_a_port_in_use_is_named_before_an_engine_starts(served, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE_MODE", "exit")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port}") as caught, run(served, ServingConfig(port=port)):
            pass
    assert caught.value.faults[0].code == "TW-SERV-031"
    assert "--port" in caught.value.faults[0].cure
    (refused,) = served.events("gateway.start")
    assert (refused.decision, refused.detail.get("faults")) == ("refused", ["TW-SERV-031"])


def test_other_machines_are_kept_out_unless_meant(served):
    config = ANY_PORT.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(ServingError, match="TW-SERV-030"), run(served, config):
        pass
    with pytest.raises(ValueError, match="allow_remote"):
        ServingConfig(host="0.0.0.0")
    assert ServingConfig(host="0.0.0.0", allow_remote=True).host == "0.0.0.0"


def test_no_proof_no_service(served, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE_MODE", "exit")  # an engine that started would show as TW-SERV-032
    served.deploy("second")

    def broken(site, keys, deployment):
        return [Fault("TW-SERV-040", f"{deployment.alias} is not signed")]

    with pytest.raises(ProofError) as caught, run(served, check=broken):
        pass
    assert [f.message for f in caught.value.faults] == ["claims is not signed", "second is not signed"]
    assert served.events("gateway.start")[-1].decision == "refused"


def test_nothing_deployed_is_said(tmp_path):
    with pytest.raises(ServingError, match="tuneward deploy"), run(ServedSite.make(tmp_path)):
        pass


def test_a_changed_base_is_refused(served):
    path = served.office.site.artifacts.tree(served.base) / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(b"tampered")
    with pytest.raises(ProofError, match=r"model\.safetensors"), run(served):
        pass


def test_a_role_is_needed(served):
    stranger = replace(served, office=replace(served.office, actor="eve"))
    with pytest.raises(GovernanceError), run(stranger):
        pass


def test_an_engine_that_does_not_start_leaves_nothing_running(served, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE_MODE", "exit")
    with pytest.raises(ServingError, match="TW-SERV-032"), run(served):
        pass
    monkeypatch.delenv("FAKE_ENGINE_MODE")
    with run(served) as running:
        running.check()
        engine = running._engines[0]
        os.kill(engine.pid, signal.SIGKILL)
        engine._child.wait(timeout=10)
        with pytest.raises(ServingError, match="TW-SERV-033"):
            running.check()


SCRIPT = """
import sys
from pathlib import Path
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.governance.policies import load_policy
from tuneward.progress import Silent
from tuneward.serving.config import ServingConfig
from tuneward.storage.site import Site
from tuneward.workflows.gateway import serve_until_stopped

site = Site.open(Path(sys.argv[1]))
office = Office(site, Keys.open(site.keys_folder), "ada", load_policy("solo"))

def ready(g):
    print(g.url, g._engines[0].pid, flush=True)

class Heard(Silent):
    def say(self, text):
        if "ended" in text:
            print(text, flush=True)

settings = {"check": lambda *_: [], "ready": ready, "engine_command": sys.argv[2:], "progress": Heard()}
serve_until_stopped(office, ServingConfig(port=0), **settings)
print("over", flush=True)
"""


@pytest.fixture
def served_elsewhere(served):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(served.office.site.folder), *FAKE_ENGINE],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        line = process.stdout.readline()
        assert line, "it did not start"
        url, pid = line.split()
        yield process, url, int(pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(("name", "who"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_signals_end_it_cleanly_and_it_says_so(served, served_elsewhere, name, who):
    process, url, engine = served_elsewhere
    assert httpx.get(f"{url}/health", trust_env=False).is_success
    process.send_signal(name)
    assert process.wait(timeout=20) == 0
    assert process.stdout.read() == f"the gateway has ended: {who} asked for it\nover\n"
    assert gone(engine)
    assert [e.action for e in served.events("gateway.start", "gateway.stop")] == ["gateway.start", "gateway.stop"]


def test_kill_9_leaves_no_engine_and_the_next_start_works(served, served_elsewhere):
    process, _, engine = served_elsewhere
    process.kill()
    process.wait()
    assert gone(engine)
    with run(served) as running:
        assert running.aliases == ("claims",)


def test_an_answer_under_way_ends_before_the_gateway_does(served, served_elsewhere):
    process, url, _ = served_elsewhere
    body = {"model": "claims", "messages": [{"role": "user", "content": "slow " + "word " * 20}], "stream": True}
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, trust_env=False) as response:
        lines = response.iter_lines()
        next(lines)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert time.monotonic() - began < 9
    assert process.wait(timeout=20) == 0
    assert [e.action for e in served.events()][-3:] == ["answer.start", "answer.finish", "gateway.stop"]


def ask(served, running) -> httpx.Response:
    body = {"model": "claims", "messages": [{"role": "user", "content": "word"}]}
    headers = {"authorization": f"Bearer {served.key}"}
    return httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, trust_env=False)


def withdraw_behind(served, kind: str, noun: str) -> None:
    with served.office.site.database.write() as c:
        withdrawal = Withdrawal("con_" + new_id("x"), "", "ada", now())
        insert_many(c, [withdrawal, Affected(new_id("aff"), withdrawal.id, kind, noun, 3, now())])


def test_a_withdrawal_ends_new_answers_at_the_next_request_where_the_policy_refuses(served):
    strict = replace(served.office, policy=replace(served.office.policy, affected="refuse"))
    with gateway(strict, ANY_PORT, check=fine, engine_command=FAKE_ENGINE) as running:
        assert ask(served, running).status_code == 200
        withdraw_behind(served, "dataset", "dat_other")
        assert ask(served, running).status_code == 200, "somebody else's"
        withdraw_behind(served, "deployment", running.routes[0].deployment.id)
        refused = ask(served, running)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "TW-SERV-055"
        assert refused.headers["x-should-retry"] == "false"
        assert running.routes[0].deployment.id not in refused.text
        served.deploy("claims", weights="trained without these rows")
        assert ask(served, running).status_code == 200
    assert [e.action for e in served.events("answer.start", "answer.finish")] == ["answer.start", "answer.finish"] * 3


def test_a_withdrawal_changes_nothing_at_a_gateway_that_only_warns(served):
    with run(served) as running:
        withdraw_behind(served, "deployment", running.routes[0].deployment.id)
        assert ask(served, running).status_code == 200


def test_a_gateway_that_refuses_lets_nothing_in_whose_version_is_affected(served):
    strict = replace(served.office, policy=replace(served.office.policy, affected="refuse"))
    with served.office.site.database.write() as c:
        (deployment,) = find(c, Deployment, alias="claims", status="active")
        link(c, Ref("version", deployment.version), deployment)
    withdraw_behind(served, "version", deployment.version)
    with (
        pytest.raises(ProofError, match="TW-SERV-055"),
        gateway(strict, ANY_PORT, check=fine, engine_command=FAKE_ENGINE),
    ):
        pass
