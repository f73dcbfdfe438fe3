"""The report page: self-contained, escaped, honest about what is missing, and readable without colour."""

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest

from tests.workflows.report_summary import WANTED, digest, summary
from tuneward.workflows.report import compare_answers, duration, p_value, points, render_report

VOID = {"meta", "col", "br", "link", "img", "hr", "input"}


class Balance(HTMLParser):
    """Fails when tags do not close in order; collects text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def text_of(page: str) -> str:
    parser = Balance()
    parser.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    assert parser.open == []
    return re.sub(r"\s+", " ", "".join(parser.text))


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(dict(summary()))


def test_page_needs_no_network_and_no_script(values: dict[str, Any]) -> None:
    page = render_report(values)
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|\bsrc=|@import|url\(|href=", page)
    outside = set(re.findall(r"https?://[^\"'\s<]+", page)) - {"http://www.w3.org/2000/svg"}
    assert outside == set()


def test_page_says_everything_of_a_good_run(values: dict[str, Any]) -> None:
    text = text_of(render_report(values))
    for part in (
        "learned from 625 rows in 3 min 35 s",
        "rose from 0.0% to 62.5%. The gate let it pass.",
        "+62.5",
        "exact McNemar",
        "n = 200, p < 0.0001",
        "✓ chain verified",
        "Self-granted.",
        "12 exact duplicates",
        "same prompt, different answer",
        "Not measured: memorization.extracted.",
        "tuneward verify",
        "7 min 51 s in all",
    ):
        assert part in text, part


def test_times_of_a_walk_that_went_on_are_said_to_be_those_of_the_last_call(values: dict[str, Any]) -> None:
    values["steps"][0]["state"] = "kept"
    text = text_of(render_report(values))
    assert "7 min 51 s in this call" in text
    assert "in all" not in text


def test_an_answer_that_was_cut_is_said_to_be(values: dict[str, Any]) -> None:
    values["answers"] = [{"outcome": "improved", "prompt": "p", "reference": '{"a": 1}', "base": '{"a', "tuned": "x"}]
    assert text_of(render_report(values)).count("no JSON object:") == 2
    values["answers"][0]["cut"] = {"base": 24}
    text = text_of(render_report(values))
    assert "cut at 24 tokens, before it had ended (evaluation.task.max_tokens):" in text
    assert text.count("no JSON object:") == 1
    values["answers"][0] |= {"reference": "words"}
    assert "differs; cut at 24 tokens" in text_of(render_report(values))


def test_held_out_rows_are_shown_where_there_were_some(values: dict[str, Any]) -> None:
    assert "held-out loss" not in render_report(values)
    values["training"] |= {
        "validation_rows": 31,
        "validation_first_loss": 2.5,
        "validation_best_loss": 0.75,
        "kept_step": 80,
        "stopped_early": True,
    }
    page = render_report(values)
    for said in ("held-out rows", ">31<", "2.500 → 0.750", "80 (ended early)"):
        assert said in page


def test_chain_runs_from_answer_to_base_with_whole_digests(values: dict[str, Any]) -> None:
    page = render_report(values)
    places = [page.index(f'<span class="kind">{link["kind"]}</span>') for link in values["chain"]]
    assert places == sorted(places)
    assert all(link["digest"] in page for link in values["chain"])
    assert f'title="{digest("f")}"' in page


def test_a_broken_link_is_named_without_colour(values: dict[str, Any]) -> None:
    values["verified"] = False
    values["chain"][3]["checked"] = False
    page = render_report(values)
    assert 'aria-label="does not hold"' in page
    assert "✗ chain broken" in page
    assert "recomputed every one" not in page


def test_texts_are_escaped(values: dict[str, Any]) -> None:
    values["answers"][0]["prompt"] = "<script>alert(1)</script>"
    values["answers"][0]["base"] = "<img src=x onerror=alert(1)>"
    values["purpose"] = "a & b <i>"
    page = render_report(values)
    assert "<script" not in page
    assert "<img" not in page
    assert "a &amp; b &lt;i&gt;" in page


def test_only_the_picture_is_taken_as_markup_and_only_from_svg_on(values: dict[str, Any]) -> None:
    assert "<?xml" not in render_report(values)


def test_a_road_that_stopped_early_says_so(values: dict[str, Any]) -> None:
    values.update(training=None, gate=None, data=None, figures={}, fields={}, answers=[], chain=[], verified=None)
    values["steps"] = [{"name": "prepare", "result": "test rows inside train", "seconds": 1.0, "state": "refused"}]
    text = text_of(render_report(values))
    assert "stopped before training" in text
    assert "refused: test rows inside train" in text
    assert "Not evaluated yet." in text
    assert "no chain to show" in text


def test_a_gate_that_says_no_is_said_in_words(values: dict[str, Any]) -> None:
    values["gate"]["passed"] = False
    text = text_of(render_report(values))
    assert "did not let it pass" in text
    assert "✗ not passed" in text


def test_a_worse_model_fell(values: dict[str, Any]) -> None:
    values["figures"]["task.exact_match"] |= {"base": 0.5, "tuned": 0.4, "difference": -0.1}
    text = text_of(render_report(values))
    assert "fell from 50.0% to 40.0%" in text
    assert "−10.0" in text


def test_undefined_figures_are_not_shown_as_zero(values: dict[str, Any]) -> None:
    nothing = dict.fromkeys(("base", "base_interval", "difference", "difference_interval", "p_value", "test"))
    values["figures"]["task.exact_match"] |= nothing
    text = text_of(render_report(values))
    assert "could not be compared" in text
    assert "not defined" in text


def test_a_missing_key_is_an_error_not_a_gap(values: dict[str, Any]) -> None:
    del values["machine"]
    with pytest.raises(jinja2.UndefinedError):
        render_report(values)


def test_summary_survives_json(values: dict[str, Any]) -> None:
    assert render_report(json.loads(json.dumps(values))) == render_report(values)


def compared(base: str, tuned: str = "{}", reference: str = json.dumps(WANTED)) -> dict[str, Any]:
    answer = {"outcome": "improved", "prompt": "", "reference": reference, "base": base, "tuned": tuned}
    return compare_answers(answer, ["summary"])


def marks(shown: dict[str, Any], name: str) -> dict[str, str]:
    return {row["field"]: row[name]["mark"] for row in shown["rows"]}


def test_fields_are_marked_one_by_one() -> None:
    given = {**WANTED, "severity": "high", "needs_human": 0, "summary": "other words", "note": "x"}
    del given["amount"]
    found = marks(compared(json.dumps(given)), "base")
    assert found["category"] == "right"
    assert found["severity"] == "wrong"
    assert found["needs_human"] == "wrong", "0 is not false"
    assert found["summary"] == "free"
    assert found["amount"] == "missing"
    assert found["note"] == "extra"


def test_one_and_one_point_zero_are_the_same_number() -> None:
    assert marks(compared('{"a": 1.0}', reference='{"a": 1}'), "base") == {"a": "right"}


@pytest.mark.parametrize("answer", ["", "sorry", "[1]", '{"a": 1', "{} trailing"])
def test_an_answer_that_is_no_object_is_shown_as_it_is(answer: str) -> None:
    assert compared(answer)["texts"]["base"]["text"] == answer


def test_texts_of_a_text_task_stand_side_by_side() -> None:
    shown = compared("no", tuned="yes", reference="yes")
    assert shown["rows"] is None
    assert {name: text["right"] for name, text in shown["texts"].items()} == {
        "reference": True,
        "base": False,
        "tuned": True,
    }


def test_long_answers_are_cut_and_say_so() -> None:
    assert compared("x" * 1000)["texts"]["base"]["text"].endswith("… (300 more characters)")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.44, "0.4 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_read_well(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_p_values_and_differences() -> None:
    assert [p_value(p) for p in (None, 1e-40, 0.0021, 1.0)] == ["–", "< 0.0001", "0.0021", "1"]
    assert [points(d) for d in (0.625, -0.1, 0.0)] == ["+62.5", "−10.0", "+0.0"]
