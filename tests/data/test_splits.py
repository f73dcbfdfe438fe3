"""Splits: nobody on two sides, shares kept, labels alike; shards fixed by subject; canaries by seed."""

import json
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tuneward.data.canaries import make_canaries, twin_rows
from tuneward.data.shards import shard_of, shard_sizes
from tuneward.data.split_config import SplitConfig
from tuneward.data.splits import Unit, assign, subjects_on_two_sides
from tuneward.domain.record import Message, Record, Source

units = st.lists(
    st.builds(
        Unit,
        id=st.uuids().map(str),
        subject=st.none() | st.sampled_from([f"sub_{i}" for i in range(12)]),
        cluster=st.integers(0, 40),
        label=st.sampled_from(["a", "b", "c"]),
        may_test=st.sampled_from([True, True, True, False]),
    ),
    max_size=60,
    unique_by=lambda unit: unit.id,
)
configs = st.builds(
    SplitConfig, test_share=st.floats(0, 0.4), reserve_share=st.floats(0, 0.4), seed=st.integers(0, 1000)
)


def record(name, subject=None, answer="yes"):
    return Record(name, (Message("user", "q"), Message("assistant", answer)), Source("f", "", 1), subject, "train")


@settings(max_examples=200, deadline=None)
@given(units, configs)
def test_nobody_and_no_cluster_stands_on_two_sides_and_no_share_is_exceeded(rows, config):
    sides = assign(rows, config)
    assert subjects_on_two_sides((row.subject, side) for row, side in zip(rows, sides, strict=True)) == 0
    clusters = defaultdict(set)
    for row, side in zip(rows, sides, strict=True):
        clusters[row.cluster].add(side)
        assert row.may_test or side != "test"
    assert all(len(found) == 1 for found in clusters.values())
    counted = Counter(sides)
    assert counted["test"] <= config.test_share * len(rows)
    assert counted["reserve"] <= config.reserve_share * len(rows)


@settings(max_examples=100, deadline=None)
@given(units, configs, st.randoms(use_true_random=False))
def test_the_side_of_a_row_does_not_depend_on_the_order_of_rows(rows, config, generator):
    shuffled = generator.sample(rows, len(rows))
    by_id = dict(zip([row.id for row in rows], assign(rows, config), strict=True))
    assert dict(zip([row.id for row in shuffled], assign(shuffled, config), strict=True)) == by_id


def test_shares_are_met_and_labels_are_alike():
    rows = [Unit(f"r{i}", f"s{i // 2}", i, "rare" if i % 10 == 0 else "often") for i in range(2000)]
    sides = assign(rows, SplitConfig(test_share=0.1, reserve_share=0.05))
    counted = Counter(zip(sides, [row.label for row in rows], strict=True))
    assert counted["test", "rare"] == pytest.approx(20, abs=2)
    assert counted["test", "often"] == pytest.approx(180, abs=3)
    assert counted["reserve", "rare"] == pytest.approx(10, abs=2)
    assert counted["reserve", "often"] == pytest.approx(90, abs=3)


def test_another_seed_draws_other_rows():
    rows = [Unit(f"r{i}", None, i) for i in range(200)]
    one, other = (assign(rows, SplitConfig(test_share=0.5, seed=seed)) for seed in (1, 2))
    assert Counter(one) == Counter(other) == {"train": 100, "test": 100}
    assert one != other


def test_without_shares_everything_trains():
    assert assign([Unit("a", None, 0)], SplitConfig()) == ["train"]


def test_settings_that_leave_nothing_to_train_are_refused():
    with pytest.raises(ValidationError, match="leave less than a fifth to train"):
        SplitConfig(test_share=0.5, reserve_share=0.4)
    with pytest.raises(ValidationError, match="stands twice"):
        SplitConfig(canaries=(1, 1))
    with pytest.raises(ValidationError, match="is blank"):
        SplitConfig(stratify_by=" ")


@given(st.text(max_size=10), st.integers(1, 64), st.lists(st.text(max_size=5), min_size=2, max_size=5))
def test_a_subjects_rows_lie_in_one_shard_whatever_they_say(subject, shards, names):
    places = {shard_of(record(name, f"sub_{subject}", name), shards=shards, key=b"k") for name in names}
    assert len(places) == 1
    assert 0 <= places.pop() < shards


def test_rows_without_subject_are_spread_by_their_ids_and_the_key_matters():
    rows = [record(f"rec_{i}") for i in range(4000)]
    sizes = shard_sizes(rows, shards=8, key=b"k")
    assert sum(sizes) == 4000
    assert min(sizes) > 400
    assert shard_sizes(rows, shards=8, key=b"other") != sizes


def test_canaries_are_in_the_tasks_form_and_come_from_the_seed():
    config = SplitConfig(canaries=(1, 4, 16), canaries_each=3, seed=5)
    like = [record("rec_1", answer='{"code": "private", "kind": "x"}')]
    made = make_canaries(config, form="conversation", system="S", like=like)
    assert made == make_canaries(config, form="conversation", system="S", like=like)
    assert Counter(canary.repetitions for canary in made) == {1: 3, 4: 3, 16: 3}
    assert len({canary.secret for canary in made}) == len({canary.record.id for canary in made}) == 9
    for canary in made:
        assert [m.role for m in canary.record.messages] == ["system", "user", "assistant"]
        assert json.loads(canary.record.answer) == {"code": canary.secret, "kind": None}
        assert "private" not in json.dumps(canary.to_json())
    other = make_canaries(SplitConfig(canaries=(1,), seed=6), form="conversation", system=None, like=[])
    assert {canary.secret for canary in other}.isdisjoint(canary.secret for canary in made)
    assert other[0].record.answer == other[0].secret


@pytest.mark.parametrize("form", ["document", "pair", "judged", "conversation"])
def test_canaries_are_rows_of_the_methods_form(form):
    config = SplitConfig(canaries=(1,), canaries_each=1)
    (canary,) = make_canaries(config, form=form, system="S", like=[])
    assert canary.record.form == form
    assert Record.from_json(canary.to_json()["row"]) == canary.record
    assert canary.secret in canary.record.answer


def test_a_twin_has_the_same_rows_in_the_same_order_and_each_canary_as_often_as_it_says():
    rows = [record(f"rec_{i}") for i in range(50)]
    made = make_canaries(SplitConfig(canaries=(1, 4), canaries_each=2), form="conversation", system=None, like=rows)
    twin = twin_rows(rows, made, seed=3)
    assert [row for row in twin if row.id.startswith("rec_")] == rows
    counted = Counter(row.id for row in twin if row.id.startswith("can_"))
    assert counted == {canary.record.id: canary.repetitions for canary in made}
    assert twin == twin_rows(rows, made, seed=3) != twin_rows(rows, made, seed=4)
