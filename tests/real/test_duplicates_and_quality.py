"""The bars of docs/data-quality.md, on a tenth of the rows: a change that lowers a figure shows here."""

from pathlib import Path

import pytest

from benchmarks.mixed_chat import REPORTED, parts_of, plant
from benchmarks.near_duplicates import SEEDS, ours, pairs_of
from benchmarks.quality_detectors import measure, measure_languages
from tuneward.settings import Settings

pytestmark = pytest.mark.real

#: Reason → least precision and recall on the reported half.
FLOORS = {
    "assistant_phrase": (0.97, 0.80),
    "broken_json": (0.97, 0.78),
    "placeholder": (0.97, 0.88),
    "repetition": (0.95, 0.87),
    "toxicity": (0.94, 0.60),
    "truncated": (0.58, 0.89),
}


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Settings.from_environment().test_data
    if folder is None or not (folder / "hh-rlhf").is_dir():
        pytest.skip("TUNEWARD_TEST_DATA names no folder with hh-rlhf/ and others; unit tests hold the rules themselves")
    return folder


def test_near_duplicates_reach_the_bars(data: Path) -> None:
    planted = plant(parts_of(data), count=10_000, seed=SEEDS["reported"], edits=REPORTED)
    first, _ = ours(planted.rows)
    wanted, found = set(pairs_of(planted.groups)), set(pairs_of(first))
    assert len(wanted) > 2000
    assert len(wanted & found) >= 0.99 * len(wanted)
    assert len(wanted & found) >= 0.98 * len(found)


def test_every_detector_keeps_its_floor(data: Path) -> None:
    told = measure(data, half=1)
    told.pop("clean")
    assert set(told) == set(FLOORS)
    for kind, (planted, found, accused) in told.items():
        precision, recall = FLOORS[kind]
        assert found >= recall * planted, kind
        assert found >= precision * (found + accused), kind


def test_languages_are_guessed_or_left_open(data: Path) -> None:
    for language, (texts, right, wrong) in measure_languages(data).items():
        assert right >= 0.75 * texts, language
        assert wrong <= 0.005 * texts, language
