import json
import subprocess
import sys

import pytest
from evaluation_cases import items, json_task, row

from tuneward.errors import EvaluationError
from tuneward.evaluation.measure import (
    OUTCOMES,
    Item,
    check_items,
    choose_items,
    measure,
    read_items,
    read_report,
    read_side_by_side,
)
from tuneward.evaluation.tasks import TextTask

REFERENCES = [row("water", place) for place in range(40)]
BASE = [REFERENCES[p] if p < 6 else "Sure!" for p in range(40)]
TUNED = ["{" if p < 2 else REFERENCES[p] if p < 30 else row("fire", p) for p in range(40)]


def report(tmp_path, **more):
    return measure(json_task(tmp_path), items(*REFERENCES), BASE, TUNED, **more)


def test_figures_flips_outcomes_and_failures(tmp_path) -> None:
    shown = report(tmp_path).to_json()
    figure = shown["figures"]["task.exact_match"]
    assert (figure["base"], figure["tuned"], figure["n"]) == (0.15, 0.7, 40)
    assert figure["flips"] == {"wrong_to_right": 24, "right_to_wrong": 2}
    assert shown["outcomes"] == {"improved": 24, "still wrong": 10, "worse": 2, "still right": 4}
    assert shown["failures"] == {"base": {"text around the object": 34}, "tuned": {"cut off or broken JSON": 2}}
    assert shown["fields"]["summary"]["compared"] == "token F1"
    assert shown["fields"]["category"]["f1"]["tuned"] == pytest.approx(2 * 28 / (38 + 40), abs=1e-6)


def test_an_answer_that_was_cut_is_told_from_one_that_is_no_json(tmp_path) -> None:
    made = report(tmp_path, cut={"base": {0, 7, 8}, "tuned": {1}}, max_tokens=24)
    shown = made.to_json()
    assert shown["cut"] == {"max_tokens": 24, "base": 3, "tuned": 1}
    assert shown["failures"]["base"] == {"cut at max_tokens": 2, "text around the object": 32}
    assert shown["failures"]["tuned"] == {"cut at max_tokens": 1, "cut off or broken JSON": 1}
    assert shown["figures"] == report(tmp_path).to_json()["figures"]
    made.write(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert [rows[place].get("cut") for place in (0, 1, 2)] == [{"base": 24}, {"tuned": 24}, None]
    assert read_report(tmp_path)["cut"]["tuned"] == 1
    assert len(read_side_by_side(tmp_path)) == 4
    assert read_items(tmp_path)[1] == BASE


def test_where_no_answer_was_cut_a_report_says_nothing_of_it(tmp_path) -> None:
    made = report(tmp_path, cut={"base": set(), "tuned": set()}, max_tokens=24)
    assert made.to_json() == report(tmp_path).to_json()


def test_every_figure_has_n_interval_and_a_named_test(tmp_path) -> None:
    shown = report(tmp_path).to_json()
    singles = [shown["fields"][field][m] for field in shown["fields"] for m in ("precision", "recall", "f1")]
    for figure in [*shown["figures"].values(), *singles]:
        assert figure["n"] == 40
        assert figure["interval_method"]
        for value, interval in (
            ("base", "base_interval"),
            ("tuned", "interval"),
            ("difference", "difference_interval"),
        ):
            assert (figure[value] is None) == (figure[interval] is None)
            if figure[interval]:
                assert figure[interval][0] <= figure[value] <= figure[interval][1]
        assert (figure["p_value"] is None) == (figure["test"] is None)


def test_every_suite_stands_as_not_measured_with_its_reason(tmp_path) -> None:
    entries = report(tmp_path, suites=("bias", "general")).to_json()["not_measured"]
    assert {entry["name"]: entry["asked"] for entry in entries} == {
        "general": True,
        "refusal": False,
        "bias": True,
        "memorization": False,
    }
    assert all(entry["reason"] for entry in entries)


def test_examples_are_drawn_from_every_outcome_and_by_the_seed(tmp_path) -> None:
    drawn = report(tmp_path, samples=4, seed=1).side_by_side
    assert [example.outcome for example in drawn] == list(OUTCOMES)
    assert report(tmp_path, samples=4, seed=1).side_by_side == drawn
    assert report(tmp_path, samples=4, seed=2).side_by_side != drawn
    assert len(report(tmp_path, samples=100).side_by_side) == 40
    assert report(tmp_path, samples=0).side_by_side == ()


def test_report_holds_no_text_and_items_hold_all(tmp_path) -> None:
    references = [row("water", 1, summary="the marmot of Jane Doe")] * 3
    made = measure(json_task(tmp_path), items(*references), references, ["marmot"] * 3)
    made.write(tmp_path)
    assert b"marmot" not in (tmp_path / "report.json").read_bytes()
    assert (tmp_path / "items.jsonl").read_bytes().count(b"marmot of Jane Doe") == 6
    assert read_side_by_side(tmp_path)[0]["reference"] == references[0]


def test_report_can_be_made_again_from_the_items(tmp_path) -> None:
    made = report(tmp_path, seed=3)
    made.write(tmp_path)
    again = measure(json_task(tmp_path), *read_items(tmp_path), seed=3)
    assert again.to_json() == read_report(tmp_path)
    assert again == made


def test_erased_items_leave_the_report_readable(tmp_path) -> None:
    report(tmp_path).write(tmp_path)
    (tmp_path / "items.jsonl").write_bytes(b"")
    assert read_side_by_side(tmp_path) == []
    assert read_report(tmp_path)["items"] == 40


def test_unicode_line_separators_in_answers_survive(tmp_path) -> None:
    text = "one\u2028two\x85three\nfour"
    measure(TextTask(), items(text), [text], [text]).write(tmp_path)
    assert read_items(tmp_path)[1] == [text]


def test_text_task(tmp_path) -> None:
    made = measure(TextTask(), items("the cat sat", "a dog ran"), ["dog", "dog"], ["the cat", "a dog ran"])
    assert made.outcomes == {"improved": 2, "still wrong": 0, "worse": 0, "still right": 0}
    assert made.to_json()["fields"] == {}


def test_faults_come_together(tmp_path) -> None:
    bad = [Item("rec_1", "p", row("flood")), Item("rec_1", "p", row())]
    with pytest.raises(EvaluationError) as error:
        measure(json_task(tmp_path), bad, ["x"], ["x", "y", "z"])
    assert [fault.code for fault in error.value.faults] == ["TW-EVAL-007"] * 3
    with pytest.raises(EvaluationError) as error:
        measure(json_task(tmp_path), items(row("flood")), ["x"], ["x"])
    assert [fault.code for fault in error.value.faults] == ["TW-EVAL-006"]


def test_a_wrong_reference_is_known_before_a_model_is_asked(tmp_path) -> None:
    check_items(json_task(tmp_path), items(row()))
    with pytest.raises(EvaluationError, match="TW-EVAL-006"):
        check_items(json_task(tmp_path), items(row("flood")))


def test_no_items_is_refused(tmp_path) -> None:
    with pytest.raises(EvaluationError) as error:
        measure(json_task(tmp_path), [], [], [])
    assert error.value.faults[0].code == "TW-EVAL-005"


@pytest.mark.parametrize("damage", [b"{", b'{"item": 1}', b"[]"])
def test_damaged_files_are_refused(tmp_path, damage: bytes) -> None:
    report(tmp_path).write(tmp_path)
    (tmp_path / "items.jsonl").write_bytes(damage)
    (tmp_path / "report.json").write_bytes(damage)
    for read in (read_items, read_report):
        with pytest.raises(EvaluationError) as error:
            read(tmp_path)
        assert error.value.faults[0].code == "TW-EVAL-008"


def test_choose_items_is_seeded_and_keeps_the_order() -> None:
    whole = items(*REFERENCES)
    assert choose_items(whole, limit=None, seed=0) == whole
    assert choose_items(whole, limit=99, seed=0) == whole
    some = choose_items(whole, limit=10, seed=0)
    assert [int(item.id[4:]) for item in some] == sorted(int(item.id[4:]) for item in some)
    assert len(some) == 10
    assert some != choose_items(whole, limit=10, seed=1)


def test_adversarial_answers_never_raise(tmp_path) -> None:
    answers = ["\ud800", "{" * 10_000, "\x00", '{"category": {"category": {}}}', "9" * 10_000, '{"":' + "[" * 9000]
    made = measure(json_task(tmp_path), items(*[row()] * len(answers)), answers, answers)
    assert made.to_json()["figures"]["task.exact_match"]["tuned"] == 0.0
    made.write(tmp_path)
    assert len(read_items(tmp_path)[0]) == len(answers)


def test_room_needs_no_torch() -> None:
    code = "import sys, tuneward.evaluation.measure, tuneward.evaluation.gate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_report_is_json(tmp_path) -> None:
    json.dumps(report(tmp_path).to_json(), allow_nan=False)
