"""Quality and division on prepared rows: reasons, what leaves and what does not, copies, sides, canaries."""

import json
from collections import Counter

import numpy as np
import pytest
from data_cases import policy, prepare, refused, row, write_rows

from tuneward.data.labels import LabelCounts
from tuneward.data.prepared import fingerprint_of_folder

ANSWER = "The claim was paid in full last week. The customer has been told by letter number {}."
WORDS = " ".join(f"word{i}" for i in range(40))


def rows_of(count, **more):
    return [row(f"question {i} about case {i * 37} and {i * 91}", ANSWER.format(i), **more) for i in range(count)]


def noted(prepared):
    return {line["source"]: line for line in (row.to_json() for row in prepared.quality)}


def test_rows_are_named_with_their_reasons_and_stay(tmp_path):
    bad = [row("why", "As an AI language model, I cannot say. " + ANSWER), row("who", "Dear {first_name}, thank you.")]
    write_rows(tmp_path / "train.jsonl", [*rows_of(5), *bad])
    prepared = prepare(tmp_path)
    assert len(prepared.train) == 7
    told = noted(prepared)
    assert set(told) == {"train.jsonl:6", "train.jsonl:7"}
    assert told["train.jsonl:7"]["reasons"] == ["placeholder.unfilled"]
    assert told["train.jsonl:6"]["suggestion"] == "repair"
    assert prepared.counts["quality"] == {"assistant_phrase": 1, "placeholder": 1}
    assert [line["source"] for line in prepared.card["places"]["worst"]] == ["train.jsonl:6", "train.jsonl:7"]


def test_rows_leave_for_the_reasons_that_are_named(tmp_path):
    write_rows(tmp_path / "train.jsonl", [*rows_of(5), row("who", "Dear {first_name}, thank you.")])
    prepared = prepare(tmp_path, quality={"drop": ["placeholder"]})
    assert len(prepared.train) == 5
    assert prepared.counts["train"]["dropped"]["quality"] == 1
    assert prepared.card["places"]["quality_dropped"] == [{"row": "train.jsonl:6"}]


@pytest.mark.parametrize(("keep", "kept"), [("first", 1), ("best", 2)])
def test_of_near_duplicates_the_first_or_the_best_stays_when_asked(tmp_path, keep, kept):
    cut = ANSWER.format(1) + " It is now"
    write_rows(tmp_path / "train.jsonl", [row(WORDS, cut), row(WORDS + " end", cut + " settled."), *rows_of(3)])
    prepared = prepare(tmp_path, quality={"near_duplicates": "drop", "keep": keep})
    assert [r.source.line for r in prepared.train] == [kept, 3, 4, 5]
    assert prepared.counts["train"]["dropped"]["near_duplicate"] == 1


def test_near_prompts_with_other_answers_are_contradictions_and_no_copies(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(WORDS, "yes, certainly"), row(WORDS + " end", "no, never at all")])
    prepared = prepare(tmp_path, quality={"near_duplicates": "drop"})
    assert len(prepared.train) == 2
    assert prepared.counts["near_contradictions"] == 1
    assert prepared.counts["near_duplicates"] == 1


def test_copies_count_exact_and_near_ones(tmp_path):
    same = row(WORDS, "an answer of some words")
    write_rows(
        tmp_path / "train.jsonl", [same, same, same, row(WORDS + " end", "an answer of some words"), row("x", "y")]
    )
    assert {source: line["copies"] for source, line in noted(prepare(tmp_path)).items()} == {
        "train.jsonl:1": 4,
        "train.jsonl:4": 4,
    }


def test_answers_without_a_stop_are_a_style_where_many_are(tmp_path):
    answers = [f"It was paid in full to customer {i}. It has been told to all of them by letter" for i in range(20)]
    write_rows(tmp_path / "train.jsonl", [row(f"question number {i} {i * 77}", text) for i, text in enumerate(answers)])
    prepared = prepare(tmp_path)
    assert "truncated" not in prepared.counts["quality"]
    assert prepared.card["quality"]["without_stop"]


def test_rows_of_another_language_are_named_where_languages_are_expected(tmp_path):
    other = row("Warum wurde das nicht bezahlt?", "Weil die Rechnung noch nicht bei uns eingegangen ist.")
    write_rows(tmp_path / "train.jsonl", [*rows_of(3), other])
    assert "language" not in prepare(tmp_path).counts["quality"]
    prepared = prepare(tmp_path, quality={"languages": ["en", "fr"]})
    assert prepared.counts["quality"]["language"] == 1
    assert prepared.card["quality"]["languages"]["de"] == 1


def test_rows_near_to_a_test_row_leave_or_block_when_asked(tmp_path):
    passage = f"{' '.join(f'before{i}' for i in range(60))} {WORDS} {' '.join(f'after{i}' for i in range(60))}"
    write_rows(tmp_path / "train.jsonl", [row(WORDS + " end"), row(passage), row("free question")])
    write_rows(tmp_path / "test.jsonl", [row(WORDS)])
    kept = prepare(tmp_path, test=["test.jsonl"], tokens=400)
    assert len(kept.train) == 3
    assert (kept.counts["near_test"], kept.counts["ngram_test"], kept.counts["covered_test"]) == (1, 1, 1)
    assert kept.card["places"]["ngram_test"] == [{"row": "train.jsonl:2", "like": "test.jsonl:1"}]
    assert kept.card["places"]["covered_test"] == [{"row": "test.jsonl:1"}]
    near = {"quality": {"contamination": "near"}, "test": ["test.jsonl"], "tokens": 400}
    assert [r.source.line for r in prepare(tmp_path, **near).train] == [3]
    faults = refused(tmp_path, rules=policy(contamination="block"), **near)
    assert faults == [("TW-DATA-025", "train.jsonl:1"), ("TW-DATA-025", "train.jsonl:2")]


def test_one_pile_is_divided_and_nobody_stands_on_two_sides(tmp_path):
    people = [f"P{i // 3}" for i in range(90)]
    rows = [{**line, "who": who} for line, who in zip(rows_of(90), people, strict=True)]
    write_rows(tmp_path / "train.jsonl", rows)
    settings = {"test_share": 0.2, "reserve_share": 0.1, "shards": 4, "canaries": [1, 4], "canaries_each": 2}
    prepared = prepare(tmp_path, subject="who", split=settings)
    assert [len(side) for side in (prepared.train, prepared.test, prepared.reserve)] == [63, 18, 9]
    assert {r.split for r in prepared.test} == {"test"}
    sides = [{r.subject for r in side} for side in (prepared.train, prepared.test, prepared.reserve)]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 30
    counts = prepared.counts["train"]
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    assert counts["dropped"]["held_out"] == 27
    assert prepared.counts["test"]["read"] == prepared.counts["test"]["kept"] == 18
    assert sum(prepared.card["division"]["shards"]) == 63
    assert prepared.card["division"]["subjects_on_two_sides"] == 0
    prepared.write(tmp_path / "out")
    assert fingerprint_of_folder(tmp_path / "out", b"records") == prepared.fingerprint
    entries = Counter(entry.split for entry in prepared.entries("dat_1"))
    assert entries == {"train": 63, "test": 18, "reserve": 9}
    shards = Counter(entry.shard for entry in prepared.entries("dat_1") if entry.split == "train")
    assert [shards[number] for number in range(4)] == prepared.card["division"]["shards"]
    homes = {(entry.subject, entry.shard) for entry in prepared.entries("dat_1")}
    assert len(homes) == 30, "a person's rows live in one shard"
    canaries = [json.loads(line) for line in (tmp_path / "out" / "canaries.jsonl").read_text().splitlines()]
    assert Counter(canary["repetitions"] for canary in canaries) == {1: 2, 4: 2}
    assert not {canary["row"]["id"] for canary in canaries} & {r.id for r in prepared.train}


def test_near_duplicates_stay_on_one_side(tmp_path):
    texts = [f"{WORDS} and {i // 2} {i // 2 * 7} {'again' if i % 2 else ''}" for i in range(2)]
    write_rows(tmp_path / "train.jsonl", [*(row(text) for text in texts), *rows_of(8)])
    for seed in range(6):
        prepared = prepare(tmp_path, split={"test_share": 0.4, "seed": seed})
        sides = {r.source.line: r.split for r in (*prepared.train, *prepared.test)}
        assert sides[1] == sides[2]


def test_findings_follow_their_row_to_the_other_side(tmp_path):
    others = [" ".join(f"w{i}x{j}" for j in range(12)) for i in range(10)]
    rows = [row(f"write to a{i}@example.org about {other}", ANSWER.format(i)) for i, other in enumerate(others)]
    write_rows(tmp_path / "train.jsonl", rows)
    prepared = prepare(tmp_path, split={"test_share": 0.5})
    sides = {r.id: r.split for r in (*prepared.train, *prepared.test)}
    assert {finding.split for finding in prepared.findings} == {"train", "test"}
    assert all(finding.split == sides[finding.record] for finding in prepared.findings)


def test_rows_whose_answer_is_no_reference_are_not_held_out_for_testing(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(f"question {i} {i * 53}", "good" if i % 2 else "bad") for i in range(40)])
    prepared = prepare(tmp_path, split={"test_share": 0.5}, judge=lambda answer: "bad" if answer == "bad" else None)
    assert {r.answer for r in prepared.test} == {"good"}


def test_a_label_that_no_row_has_is_told(tmp_path):
    write_rows(tmp_path / "train.jsonl", rows_of(4))
    assert refused(tmp_path, split={"stratify_by": "kind"}) == [("TW-DATA-070", "data.split.stratify_by")]


def test_rows_that_all_hang_together_cannot_be_divided_quietly(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{**line, "who": "one"} for line in rows_of(20)])
    faults = refused(tmp_path, subject="who", split={"test_share": 0.2, "reserve_share": 0.1})
    assert faults == [("TW-DATA-071", "data.split.test_share"), ("TW-DATA-071", "data.split.reserve_share")]


def test_labels_are_told_by_number_and_free_text_is_none():
    counts = LabelCounts()
    for i in range(100):
        counts.add({"kind": "rare" if i < 5 else "often", "name": f"person {i}"})
    assert counts.result() == {
        "kind": {"classes": 2, "rows": 100, "most_frequent": 0.95, "least_frequent": 0.05, "unbalanced": True}
    }


def test_what_is_written_of_quality_holds_no_text(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("secretword", "Dear {secretname}, " + ANSWER)] * 2)
    prepared = prepare(tmp_path)
    prepared.write(tmp_path / "out")
    for name in ("quality.jsonl", "card.json", "card.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "secretword" not in text
        assert "secretname" not in text


def test_rows_that_the_base_finds_absurd_are_named_on_both_sides(tmp_path):
    write_rows(tmp_path / "train.jsonl", rows_of(40))
    seen = []

    def likelihood(rows):
        seen.extend(rows)
        return [9.0 if i == 3 else 0.001 if i == 5 else 2.0 + 0.1 * (i % 7) for i in range(len(rows))]

    told = noted(prepare(tmp_path, likelihood=likelihood))
    assert {source: line["reasons"] for source, line in told.items()} == {
        "train.jsonl:4": ["perplexity.high"],
        "train.jsonl:6": ["perplexity.low"],
    }
    assert len(seen) == 40
    assert all(len(ids) == len(labels) for ids, labels in seen)


def test_prompts_that_mean_the_same_are_named_where_a_model_is_given(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("where is my parcel"), row("has the package left"), row("cancel it")])

    def embed(texts):
        return np.array([[0, 1] if "cancel" in text else [1, 0] for text in texts], dtype=np.float32)

    prepared = prepare(tmp_path, embed=embed)
    assert prepared.counts["semantic_duplicates"] == 1
    assert prepared.card["places"]["semantic_duplicate"] == [{"row": "train.jsonl:2", "like": "train.jsonl:1"}]
    assert prepared.card["quality"]["embedding_spread"] == pytest.approx(2 / 3, abs=1e-3)
    assert prepare(tmp_path).counts["semantic_duplicates"] is None
