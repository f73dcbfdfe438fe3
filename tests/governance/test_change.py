import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from tests.storage import nouns
from tuneward.digests import merkle_root
from tuneward.domain.audit import Edge
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.policy import Member
from tuneward.domain.run import Run
from tuneward.errors import DataError, Fault, GovernanceError, StorageError
from tuneward.governance import api_keys, audit
from tuneward.governance.change import change, permit
from tuneward.governance.entering import enter
from tuneward.governance.policies import label
from tuneward.governance.row_check import check_rows
from tuneward.storage import repository
from tuneward.storage.site import Site


def log(office):
    with office.site.database.read() as c:
        return list(audit.events(c))


def rows(office, noun_type):
    with office.site.database.read() as c:
        return repository.find(c, noun_type)


def with_base(office):
    with office.site.database.write() as c:
        repository.insert(c, nouns.BASE)
    return office


def test_rows_and_event_together(solo):
    entered = enter(with_base(solo), nouns.DATASET, [*nouns.RECORDS, nouns.FINDING])
    with change(solo, "dataset.prepare", "dat_1") as made:
        made.put(nouns.BASE)
        made.put_entered(entered)
        made.link(nouns.BASE, nouns.DATASET)
        made.note(seconds=3, files={"a.jsonl": "f" * 64})
    event = made.event
    assert event == log(solo)[-1]
    assert (event.seq, event.actor, event.action, event.subject) == (1, "ann", "dataset.prepare", "dat_1")
    assert (event.decision, event.policy) == ("done", label(solo.policy))
    edge = Edge("base", nouns.BASE.id, "dataset", "dat_1")
    assert list(event.writes) == [
        {"kind": "base", "id": nouns.BASE.id, "digest": repository.noun_digest(nouns.BASE)},
        {"kind": "dataset", "id": "dat_1", "digest": repository.noun_digest(nouns.DATASET)},
        {"kind": "edge", "id": f"base:{nouns.BASE.id}>dataset:dat_1", "digest": repository.noun_digest(edge)},
    ]
    root = merkle_root(sorted(repository.canonical_noun(row) for row in nouns.RECORDS))
    assert event.detail["seconds"] == 3
    assert event.detail["rows"][0] == {"kind": "record", "dataset": "dat_1", "count": 3, "digest": root}
    assert [group["count"] for group in event.detail["rows"]] == [3, 1]
    assert rows(solo, Dataset) == [nouns.DATASET]
    assert len(rows(solo, RecordEntry)) == 3
    assert rows(solo, FindingEntry) == [nouns.FINDING]
    assert check_rows(solo.site) == ()


def test_put_replaces(solo):
    with change(solo, "run.start", "run_1") as made:
        for noun in (nouns.BASE, nouns.DATASET, nouns.APPROVAL, nouns.RUN):
            made.put(noun)
    done = replace(nouns.RUN, status="finished")
    with change(solo, "run.finish", "run_1") as made:
        made.put(replace(nouns.RUN, status="half"))
        made.put(done)
    assert rows(solo, Run) == [done]
    assert [write["digest"] for write in made.event.writes] == [repository.noun_digest(done)]


def test_a_fault_in_the_body_takes_all_back_and_is_told(solo):
    def body():
        with change(solo, "dataset.prepare", "dat_1") as made:
            made.put(nouns.BASE)
            made.note(secret="x")
            raise DataError([Fault("TW-CONF-001", "words that could name someone"), Fault("TW-CONF-002", "others")])

    with pytest.raises(DataError):
        body()
    event = log(solo)[-1]
    assert (event.decision, event.action, event.subject) == ("refused", "dataset.prepare", "dat_1")
    assert (event.writes, event.detail) == ((), {"faults": ["TW-CONF-001", "TW-CONF-002"]})
    assert rows(solo, type(nouns.BASE)) == []


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt])
def test_any_other_exception_leaves_nothing(solo, exception):
    def body():
        with change(solo, "dataset.prepare", "dat_1") as made:
            made.put(nouns.BASE)
            raise exception

    before = log(solo)
    with pytest.raises(exception):
        body()
    assert log(solo) == before
    assert rows(solo, type(nouns.BASE)) == []


def test_a_row_that_contradicts_at_commit_is_a_refusal_without_an_event_of_success(solo):
    with pytest.raises(StorageError, match="TW-STOR-008"), change(solo, "run.start", "run_1") as made:
        made.put(nouns.RUN)  # names a dataset that is not there: found at commit
    assert [(event.decision, event.detail) for event in log(solo)][1:] == [("refused", {"faults": ["TW-STOR-008"]})]
    with pytest.raises(AssertionError):
        _ = made.event
    assert audit.check_log(solo.site, solo.keys.public).faults == ()


def test_the_first_error_is_shown_even_if_the_refusal_cannot_be_logged(solo, monkeypatch):
    def full(*_, **__):
        raise StorageError(Fault("TW-STOR-007", "full"))

    monkeypatch.setattr(audit, "append", full)
    stranger = replace(solo, actor="mallory")
    with pytest.raises(GovernanceError) as caught, change(stranger, "run.start", "run_1"):
        pytest.fail("entered")
    assert "TW-STOR-007" in caught.value.__notes__[0]


def test_strangers_and_wrong_roles_are_refused_and_told(team):
    eve = team["eve"]
    with pytest.raises(GovernanceError, match="TW-GOV-001"), change(replace(eve, actor="mallory"), "run.start", "x"):
        pytest.fail("entered")
    with pytest.raises(GovernanceError, match="TW-GOV-002") as caught, change(eve, "approval.grant", "apr_1"):
        pytest.fail("entered")
    assert caught.value.faults[0].cure == "ask someone who is approver or owner"
    assert [(e.actor, e.action, e.decision, e.detail["faults"]) for e in log(eve)[-2:]] == [
        ("mallory", "run.start", "refused", ["TW-GOV-001"]),
        ("eve", "approval.grant", "refused", ["TW-GOV-002"]),
    ]


def test_permit_leaves_a_trace_only_where_it_refuses(team):
    before = log(team["eve"])
    permit(team["eve"], "run.start")
    assert log(team["eve"]) == before
    with pytest.raises(GovernanceError, match="TW-GOV-002"):
        permit(team["aud"], "run.start")
    (event,) = log(team["eve"])[len(before) :]
    assert (event.actor, event.action, event.decision) == ("aud", "run.start", "refused")


def test_an_action_that_the_policy_does_not_know_is_refused(solo):
    policy = replace(solo.policy, may={"run.start": ("owner",)})
    with pytest.raises(GovernanceError, match="TW-GOV-015"):
        permit(replace(solo, policy=policy), "run.finish")


def test_a_caller_may_ask_and_nothing_else_until_the_key_is_revoked(solo):
    _, key = api_keys.create(solo, "notebook", "ann")
    caller = replace(solo, actor=f"key:{key.id}")
    with change(caller, "answer.start", "ans_1"):
        pass
    with pytest.raises(GovernanceError, match="TW-GOV-002"):
        permit(caller, "run.start")
    api_keys.revoke(solo, key.id)
    with pytest.raises(GovernanceError, match="TW-GOV-001"):
        permit(caller, "answer.start")
    with pytest.raises(GovernanceError, match="TW-GOV-001"):
        permit(replace(solo, actor="key:none"), "answer.start")


def test_threads_and_offices_leave_one_gapless_log(solo):
    other = replace(solo, site=Site.open(solo.site.folder))

    def work(office):
        for n in range(25):
            with change(office, "answer.start", f"ans_{n}"):
                pass

    threads = [threading.Thread(target=work, args=(office,)) for office in (solo, solo, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in log(solo)] == list(range(76))
    assert audit.check_log(solo.site, solo.keys.public).faults == ()


WRITER = """
import sys
from pathlib import Path
from tests.storage import nouns
from dataclasses import replace
from tuneward.governance import audit
from tuneward.governance.change import change
from tuneward.governance.entering import enter
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.governance.policies import load_policy
from tuneward.ids import new_id
from tuneward.storage.site import Site

site = Site.open(Path(sys.argv[1]))
office = Office(site, Keys.open(site.keys_folder), "ann", load_policy("solo"))
for n in range(100_000):
    dataset = replace(nouns.DATASET, id=new_id("dat"))
    rows = [replace(nouns.RECORDS[0], dataset=dataset.id, id=f"rec_{m}", position=m) for m in range(50)]
    entered = enter(office, dataset, rows)
    with change(office, "dataset.prepare", dataset.id) as made:
        made.put(nouns.BASE)
        made.put_entered(entered)
        made.link(nouns.BASE, dataset)
    if n % 5 == 0:
        audit.checkpoint(office)
    print(dataset.id, flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_whole_log(solo):
    acknowledged, chance = [], random.Random(9)
    with_base(solo)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(solo.site.folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.getcwd(),  # noqa: PTH109
        )
        assert process.stdout is not None
        for _ in range(chance.randint(3, 12)):
            acknowledged.append(process.stdout.readline().strip())
        threading.Event().wait(chance.random() / 100)  # anywhere within the next transactions
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += process.communicate()[0].split()
        site = Site.open(solo.site.folder)
        check = audit.check_log(site, solo.keys.public)
        assert check.faults == ()
        assert check.checkpoints > 0
        assert check_rows(site) == ()
    stored = {dataset.id for dataset in rows(solo, Dataset)}
    assert set(acknowledged) <= stored  # what was said to be done is done
    assert len(rows(solo, RecordEntry)) == 50 * len(stored)
    assert {event.subject for event in log(solo)} == stored | {solo.site.id}
    assert rows(solo, Member)[0].id == "ann"
    audit.checkpoint(solo)
    assert audit.check_log(solo.site, solo.keys.public).covered == len(log(solo))
