from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from tuneward.configuration import Section, load_section, parse_yaml, validate
from tuneward.errors import ConfigError


class Json(Section):
    kind: Literal["json"]
    schema_file: str = Field(alias="schema")


class Text(Section):
    kind: Literal["text"]
    max_tokens: int = 64


class Training(Section):
    method: Literal["sft", "dpo"] = "sft"
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = 1e-3
    rank: int | None = Field(default=16, ge=1, le=512)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class Whole(Section):
    project: str
    base: str
    training: Training = Training()
    task: Annotated[Json | Text, Field(discriminator="kind")] | None = None
    gate: dict[str, Training] = Field(default_factory=dict)
    shuffle: bool = True


def load(tmp_path: Path, text: str | bytes) -> Whole:
    path = tmp_path / "tuneward.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_section(path, Whole)


def faults(tmp_path: Path, text: str | bytes) -> list[tuple[str, str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [(f.code, f.place.rpartition(":")[2], f.message, f.cure) for f in caught.value.faults]


def test_reads_what_is_right(tmp_path):
    whole = load(
        tmp_path,
        b"\xef\xbb\xbfproject: p\r\nbase: b\r\n"
        b"training: {epochs: 2, learning_rate: 1e-4, rank: null, targets: [q, v]}\r\n"
        b"task: {kind: json, schema: s.json}\r\n",
    )
    assert whole.training == Training(epochs=2.0, learning_rate=1e-4, rank=None, targets=("q", "v"))
    assert whole.task == Json(kind="json", schema="s.json")
    assert whole.canonical()["training"]["targets"] == ["q", "v"]


def test_all_faults_at_once_each_with_its_line(tmp_path):
    found = faults(
        tmp_path,
        "project: 3\ntraining:\n  epoch: 2\n  epochs: -1\n  method: stf\n  rank: sixteen\nbass: x\n",
    )
    assert [(code, line) for code, line, _, _ in found] == [
        ("TW-CONF-004", "1"),
        ("TW-CONF-005", str(tmp_path / "tuneward.yaml")),
        ("TW-CONF-004", "5"),
        ("TW-CONF-004", "4"),
        ("TW-CONF-004", "6"),
        ("TW-CONF-003", "3"),
        ("TW-CONF-003", "7"),
    ]
    by_message = {message.split("`")[1]: (message, cure) for _, _, message, cure in found}
    assert by_message["training.epoch"][1] == "did you mean `epochs`?"
    assert by_message["bass"][1] == "did you mean `base`?"
    assert by_message["training.method"] == (
        "`training.method`: input should be 'sft' or 'dpo', not 'stf'",
        "did you mean `sft`?",
    )
    assert "not -1" in by_message["training.epochs"][0]


def test_unknown_key_lists_the_known_ones_where_none_is_near(tmp_path):
    (fault,) = faults(tmp_path, "project: p\nbase: b\ntraining: {zzz: 1}\n")
    assert fault[3] == "known here: epochs, learning_rate, method, rank, targets"


def test_branches_of_a_union_are_not_named_as_settings(tmp_path):
    found = faults(tmp_path, "project: p\nbase: b\ntask:\n  kind: json\n  schem: s\ntraining: {targets: 4}\n")
    assert [(code, line, message) for code, line, message, _ in found] == [
        ("TW-CONF-004", "6", found[0][2]),
        ("TW-CONF-005", "3", "`task.schema` is missing"),
        ("TW-CONF-003", "5", "unknown setting `task.schem`"),
    ]
    assert found[0][2].startswith("`training.targets`: input should be 'all-linear', or input should be a valid tuple")
    assert found[2][3] == "did you mean `schema`?"


def test_an_unknown_branch_is_named(tmp_path):
    (fault,) = faults(tmp_path, "project: p\nbase: b\ntask: {kind: jsn}\n")
    assert fault[:2] == ("TW-CONF-004", "3")
    assert fault[3] == "did you mean `json`?"


@pytest.mark.parametrize("word", ["true", "yes", "on"])
def test_truth_is_no_number(tmp_path, word):
    (fault,) = faults(tmp_path, f"project: p\nbase: b\ntraining: {{rank: {word}}}\n")
    assert fault[:2] == ("TW-CONF-004", "3")
    assert fault[2].startswith("`training.rank`: input should be a valid integer")
    assert fault[2].endswith("not 'true'")
    assert load(tmp_path, f"project: p\nbase: b\nshuffle: {word}\n").shuffle is True


def test_every_key_given_twice_is_named(tmp_path):
    found = faults(tmp_path, "project: p\nbase: b\ntraining:\n  epochs: 1\n  epochs: 2\nbase: c\n")
    assert [(code, line, message) for code, line, message, _ in found] == [
        ("TW-CONF-006", "5", "training.epochs is already set in line 4"),
        ("TW-CONF-006", "6", "base is already set in line 2"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"project: [1\nbase: b\n", "2"),
        (b"project: p\n  base: b\n", "2"),
        (b"- a\n- b\n", None),
        (b"just text", None),
        (b"project: \xff\n", None),
        (b"project: p\x00\n", None),
        (b"project: 2024-13-45\nbase: b\n", None),
        (b"a: &x [*x]\n", "1"),
        (b"? [a, b]\n: c\n", "1"),
        (b"? {a: b}\n: c\n", "1"),
        (b"a: 1\n---\nb: 2\n", "2"),
        (b"a: " + b"[" * 3000 + b"]" * 3000, None),
        (b"a: !!python/object/apply:os.system [ls]\n", "1"),
    ],
)
def test_what_is_no_yaml_of_settings_is_refused_with_its_line(tmp_path, text, line):
    (fault, *_) = faults(tmp_path, text)
    assert fault[0] == "TW-CONF-002"
    if line:
        assert fault[1] == line


def test_aliases_of_aliases_are_refused_soon(tmp_path):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(ConfigError, match="TW-CONF-002"):
        parse_yaml(text, "bomb.yaml")


def test_merge_keys_and_aliases_are_fine():
    values, lines = parse_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n", "f")
    assert values["b"] == {"x": 1, "y": 2}
    assert lines["b", "y"] == 4


@pytest.mark.parametrize("text", ["on: 1\n", "1: x\n", "null: x\n"])
def test_keys_that_are_no_text_are_refused(tmp_path, text):
    (fault,) = faults(tmp_path, "project: p\nbase: b\n" + text)
    assert (fault[0], fault[1], fault[3]) == ("TW-CONF-002", "3", "put it in quotes")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ConfigError, match="TW-CONF-001"):
        load_section(tmp_path / "none.yaml", Whole)
    with pytest.raises(ConfigError, match="TW-CONF-002"):
        load_section(tmp_path, Whole)


def test_an_empty_file_misses_everything(tmp_path):
    assert [(code, message) for code, _, message, _ in faults(tmp_path, "")] == [
        ("TW-CONF-005", "`project` is missing"),
        ("TW-CONF-005", "`base` is missing"),
    ]


def test_faults_in_a_mapping_of_sections(tmp_path):
    (fault,) = faults(tmp_path, "project: p\nbase: b\ngate:\n  forgetting:\n    epoch: 1\n")
    assert fault == ("TW-CONF-003", "5", "unknown setting `gate.forgetting.epoch`", "did you mean `epochs`?")


def test_values_without_a_file_are_placed_by_name():
    with pytest.raises(ConfigError) as caught:
        validate({"project": "p", "base": "b", "training": {"epochs": "many"}}, Whole)
    assert caught.value.faults[0].place == "training.epochs"


def test_long_values_are_shortened(tmp_path):
    (fault,) = faults(tmp_path, f"project: p\nbase: b\ntraining: {{method: {'x' * 500}}}\n")
    assert len(fault[2]) < 200


@pytest.mark.parametrize("word", ['"\\uD800"', '"a\\0b"'])
def test_half_characters_and_nul_are_refused_with_their_line(tmp_path: Path, word: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"rate: 0.1\nname: {word}\n")
    with pytest.raises(ConfigError) as refused:
        parse_yaml(path.read_text(), "s.yaml")
    assert [(fault.code, fault.place) for fault in refused.value.faults] == [("TW-CONF-002", "s.yaml:2")]
