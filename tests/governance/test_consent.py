"""What withdrawals forbid of deployments: the mark of each, asked for with one query; the walk, for what came later."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from tuneward.domain.law import Affected, Withdrawal
from tuneward.domain.version import Deployment
from tuneward.governance.consent import bar, unservable
from tuneward.storage.database import now
from tuneward.storage.lineage import Ref, link
from tuneward.storage.repository import insert_many

DEPLOYMENT = Deployment("dep_1", "p", "claims", "ver_1", "active", None, 0.5, "2026-01-01T00:00:00Z")


@pytest.fixture
def strict(solo):
    return replace(solo, policy=replace(solo.policy, affected="refuse"))


def withdraw(office, kind: str, noun: str) -> None:
    with office.site.database.write() as c:
        insert_many(c, [Withdrawal("con_1", "", "ann", now()), Affected("1", "con_1", kind, noun, 3, now())])


def test_a_mark_bars_its_deployment_and_no_other(strict):
    assert bar(strict, DEPLOYMENT) is None
    withdraw(strict, "deployment", "dep_1")
    fault = bar(strict, DEPLOYMENT)
    assert fault is not None
    assert (fault.code, fault.place) == ("TW-SERV-055", "")
    assert "3 rows" in fault.message
    assert bar(strict, replace(DEPLOYMENT, id="dep_2")) is None


def test_a_policy_that_warns_bars_nothing(solo):
    withdraw(solo, "deployment", "dep_1")
    assert bar(solo, DEPLOYMENT) is None
    assert unservable(solo, DEPLOYMENT) == []


def test_a_bar_is_one_query(strict):
    withdraw(strict, "deployment", "dep_1")
    asked = []
    event.listen(strict.site.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    bar(strict, DEPLOYMENT)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1


def test_what_is_deployed_after_the_withdrawal_is_found_by_what_it_was_made_from(strict):
    withdraw(strict, "version", "ver_1")
    with strict.site.database.write() as c:
        link(c, Ref("version", "ver_1"), Ref("deployment", "dep_1"))
    assert bar(strict, DEPLOYMENT) is None
    assert [fault.code for fault in unservable(strict, DEPLOYMENT)] == ["TW-SERV-055"]
