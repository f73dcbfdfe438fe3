from dataclasses import replace

import pytest

from tests.serving.fake_engine import FakeEngine, Running
from tests.serving.served_site import ServedSite
from tuneward.errors import Fault, ProofError, ServingError
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.foundation import Foundation
from tuneward.serving.router import Engine, Router, engine_name


@pytest.fixture
def served(tmp_path):
    return ServedSite.make(tmp_path)


@pytest.fixture
def fake(served):
    root = served.office.site.artifacts.folder / "trees"
    return FakeEngine(name="base", key="k", adapters_root=root)


@pytest.fixture
def engine(fake):
    with Running(fake.app) as running, EngineClient(running.url, "k") as client:
        yield Engine(client, AsyncEngineClient(running.url, "k"), "fp32")


def router(served, check=lambda deployment: []) -> Router:
    return Router(served.office.site, check=check)


def names(served, *deployments) -> list[str]:
    return sorted({engine_name(served.adapter_of(d)) for d in deployments})


def test_every_active_deployment_is_checked_loaded_and_routed(served, fake, engine):
    one, two, same = served.deploy("one"), served.deploy("two"), served.deploy("same", weights="one")
    checked = []
    subject = router(served, lambda d: checked.append(d.id) or [])
    subject.verify()
    routes = subject.start({Foundation(served.base): engine})
    assert checked == [one.id, two.id, same.id]
    assert sorted(fake.adapters) == names(served, one, two)
    assert {r.deployment.alias: r.model for r in routes} == {
        d.alias: engine_name(served.adapter_of(d)) for d in (one, two, same)
    }
    with subject.lease("two") as route:
        assert route.deployment == two
        assert fake.adapters[route.model] == served.office.site.artifacts.tree(route.version.adapter)


def test_an_unknown_alias_is_refused(served, engine):
    served.deploy("one")
    subject = router(served)
    subject.start({Foundation(served.base): engine})
    with pytest.raises(ServingError, match="TW-SERV-042"), subject.lease("other"):
        pass
    with pytest.raises(ServingError, match="TW-SERV-042"), subject.lease(engine_name("0" * 64)):
        pass


def test_faults_of_all_deployments_come_together(served):
    served.deploy("one")
    served.deploy("two")
    subject = router(served, lambda d: [Fault("TW-SERV-040", f"not signed {d.alias}", "sig", "sign")])
    with pytest.raises(ProofError) as caught:
        subject.verify()
    assert [f.message for f in caught.value.faults] == ["not signed one", "not signed two"]
    assert caught.value.faults[1].place.startswith("deployment two (dep_")


def test_a_changed_adapter_file_is_never_loaded(served, fake, engine):
    deployment = served.deploy("one")
    site = served.office.site
    path = site.artifacts.tree(served.adapter_of(deployment)) / "adapter_model.safetensors"
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])
    subject = router(served)
    subject.verify()
    with pytest.raises(ProofError, match=r"adapter_model\.safetensors"):
        subject.start({Foundation(served.base): engine})
    assert fake.adapters == {}


def test_a_base_that_no_engine_holds(served, engine):
    served.deploy("one", base=served.add_base("other weights"))
    with pytest.raises(ServingError, match="TW-SERV-040"):
        router(served).start({Foundation(served.base): engine})


def test_a_switch_loads_the_new_and_drops_the_old_when_its_last_answer_ends(served, fake, engine):
    old = served.deploy("one", weights="old")
    subject = router(served)
    subject.start({Foundation(served.base): engine})
    with subject.lease("one"):
        new = served.deploy("one", weights="new")
        with subject.lease("one") as route:
            assert route.deployment == new
            assert sorted(fake.adapters) == names(served, old, new)  # the old answer still runs
    with subject.lease("one"):
        assert sorted(fake.adapters) == names(served, new)


def test_an_unloading_that_fails_is_tried_again_and_pins_nothing(served, fake, engine, monkeypatch):
    old = served.deploy("one", weights="old")
    subject = router(served)
    subject.start({Foundation(served.base): engine})
    new = served.deploy("one", weights="new")
    unload = EngineClient.unload_adapter

    def failing(client, name):
        raise ServingError(Fault("TW-SERV-037", "busy", name))

    monkeypatch.setattr(EngineClient, "unload_adapter", failing)
    with pytest.raises(ServingError, match="TW-SERV-037"), subject.lease("one"):
        pass
    assert sorted(fake.adapters) == names(served, old, new)
    monkeypatch.setattr(EngineClient, "unload_adapter", unload)
    with subject.lease("one"):
        assert sorted(fake.adapters) == names(served, new)
    served.deploy("one", weights="newest")
    with subject.lease("one") as route:
        assert list(fake.adapters) == [route.model]


def test_a_deployment_added_later_is_checked_before_it_serves(served, fake, engine):
    served.deploy("one")
    bad: set[str] = set()
    checked = []
    subject = router(served, lambda d: checked.append(d.alias) or [Fault("TW-SERV-040", "no")] * (d.id in bad))
    subject.start({Foundation(served.base): engine})
    bad.add(served.deploy("two").id)
    for _ in range(3):
        with pytest.raises(ProofError, match="TW-SERV-040"), subject.lease("two"):
            pass
    assert checked == ["one", "two"]  # and not once per request
    with subject.lease("one") as route:
        assert route.deployment.alias == "one"
    assert len(fake.adapters) == 1


def test_another_precision_than_the_evaluated_one_is_refused(served, fake, engine):
    served.deploy("one", precision="bf16")
    with pytest.raises(ServingError, match="evaluated was bf16") as caught:
        router(served).start({Foundation(served.base): engine})
    assert caught.value.faults[0].code == "TW-SERV-052"
    assert fake.adapters == {}
    served.deploy("one", precision="fp32")
    assert len(router(served).start({Foundation(served.base): engine})) == 1


def test_what_an_engine_holds_beyond_the_deployments_is_unloaded(served, fake, engine):
    left = served.deploy("gone")
    fake.adapters[engine_name("f" * 64)] = served.office.site.artifacts.tree(served.adapter_of(left))
    router(served).start({Foundation(served.base): engine})
    assert sorted(fake.adapters) == names(served, left)


def test_a_model_whose_every_weight_was_trained_is_its_engine_and_nothing_is_loaded(served, fake, engine):
    deployment = served.deploy("whole", kind="full")
    foundation = Foundation(served.adapter_of(deployment))
    (route,) = router(served).start({foundation: engine})
    assert (route.model, fake.adapters) == ("base", {})
    with pytest.raises(ServingError, match="TW-SERV-040"):
        router(served).start({Foundation(served.base): engine})


def test_adapters_of_one_base_in_two_forms_do_not_share_an_engine(served, fake, engine):
    served.deploy("full precision")
    served.deploy("four bits", kind="qlora")
    assert str(Foundation("m" * 64, "nf4-all")) == f"{'m' * 12} in four bits (NF4), embedding and head too"
    with pytest.raises(ServingError, match=r"four bits \(NF4\) is not loaded in any engine"):
        router(served).start({Foundation(served.base): engine})
    in_four_bits = replace(engine, quantisation="nf4")
    both = {Foundation(served.base): engine, Foundation(served.base, "nf4"): in_four_bits}
    assert [route.engine for route in router(served).start(both)] == [engine, in_four_bits]


def test_an_engine_that_keeps_its_base_otherwise_than_it_should_is_refused(served, engine):
    served.deploy("four bits", kind="qlora")
    with pytest.raises(ServingError, match="TW-SERV-053"):
        router(served).start({Foundation(served.base, "nf4"): engine})


def test_a_whole_model_that_was_replaced_is_not_unloaded_from_its_engine(served, fake, engine):
    whole = Foundation(served.adapter_of(served.deploy("one", kind="full")))
    subject = router(served)
    subject.start({whole: engine, Foundation(served.base): engine})
    served.deploy("one", weights="an adapter")
    with subject.lease("one") as route:
        assert route.foundation == Foundation(served.base)


def test_what_is_barred_while_it_is_served_begins_no_new_answer(served, fake, engine):
    one, two = served.deploy("one"), served.deploy("two")
    barred: dict[str, Fault] = {}
    checked = []
    subject = Router(served.office.site, check=lambda d: checked.append(d.id) or [], bar=lambda d: barred.get(d.id))
    subject.start({Foundation(served.base): engine})
    with subject.lease("one") as under_way:
        barred[one.id] = Fault("TW-SERV-055", "something came up", cure="deploy another version")
        with pytest.raises(ServingError, match="something came up") as caught, subject.lease("one"):
            pass
        assert caught.value.faults[0].place == f"deployment one ({one.id})"
        assert under_way.model in fake.adapters, "the answer under way keeps its adapter"
        with subject.lease("two"):
            pass
    served.deploy("one", weights="better")
    with subject.lease("one") as route:
        assert route.deployment.id != one.id
    assert checked == [one.id, two.id, route.deployment.id], "a bar hashes nothing and checks nothing again"
