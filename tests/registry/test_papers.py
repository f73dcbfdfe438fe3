import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from registry_nouns import AT, FILES, KEYS, OTHER_KEYS, digest, provenance, version

from tuneward.errors import ProofError
from tuneward.registry.provenance import Provenance
from tuneward.registry.signing import open_envelope, sign
from tuneward.registry.statement import PREDICATE_TYPE, make_statement
from tuneward.registry.versions import Papers, check_version, make_papers


@pytest.fixture(scope="module")
def papers() -> Papers:
    return make_papers(provenance(), KEYS)


def check(papers: Papers, behind: Provenance | None = None, **more: Any) -> list[str]:
    arguments = {"public": KEYS.public, "key_id": KEYS.key_id, **more}
    return [f"{fault.code} {fault.message}" for fault in check_version(papers, behind or provenance(), **arguments)]


def signed(papers: Papers) -> dict[str, Any]:
    return open_envelope(papers.statement, KEYS.public, key_id=KEYS.key_id)


def test_honest_papers_have_no_fault(papers: Papers) -> None:
    assert check(papers, version=version(provenance(), papers)) == []


def test_statement_names_the_whole_chain(papers: Papers) -> None:
    statement = signed(papers)
    assert statement["predicateType"] == PREDICATE_TYPE
    assert statement["subject"] == [{"name": "claims-triage/3/adapter", "digest": {"sha256": provenance().adapter.id}}]
    predicate = statement["predicate"]
    assert set(predicate) == {
        "project", "number", "created_at", "base", "dataset", "run", "approval", "evaluation", "papers", "tool",
    }  # fmt: skip
    assert predicate["evaluation"]["passed"] is True
    assert predicate["run"]["seed"] == 7


def test_statement_holds_no_floats_and_no_person(papers: Papers) -> None:
    assert not any(isinstance(value, float) for _, value in leaves(signed(papers)))
    assert b"eve" not in json.dumps(signed(papers)["predicate"]["approval"]).encode()


def test_same_nouns_same_bytes(papers: Papers) -> None:
    assert make_papers(provenance(), KEYS) == papers


def test_without_approval(papers: Papers) -> None:
    plain = provenance()
    behind = replace(plain, approval=None, run=replace(plain.run, approval=None))
    made = make_papers(behind, KEYS)
    assert signed(made)["predicate"]["approval"] is None
    assert check(made, behind) == []
    assert any("`predicate.approval`" in fault for fault in check(made))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path, value


def with_leaf(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = with_leaf(value[path[0]], path[1:], new)
    return copy


def test_each_field_of_the_statement_changed_and_signed_again_is_named(papers: Papers) -> None:
    """Someone who holds the key rewrites the statement: the records contradict it, leaf by leaf."""
    statement = signed(papers)
    paths = [path for path, _ in leaves(statement) if path != ("_type",)]
    assert len(paths) > 20
    for path in paths:
        old = dict(leaves(statement))[path]
        new = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}0"
        forged = replace(papers, statement=sign(with_leaf(statement, path, new), KEYS))
        found = check(forged)
        assert found, path
        if path[0] != "predicateType":
            shown = ".".join(str(part) for part in path).replace(".0", "[0]")
            assert any(f"`{shown}`" in fault or "not the file that was signed" in fault for fault in found), path
        row = version(provenance(), papers)
        assert any("TW-PROOF-027 `statement`" in fault for fault in check(forged, version=row))


def test_added_and_removed_fields_are_named(papers: Papers) -> None:
    statement = signed(papers)
    more = statement | {"predicate": statement["predicate"] | {"note": "trust me"}}
    assert any("`predicate.note`" in f for f in check(replace(papers, statement=sign(more, KEYS))))
    less = {key: value for key, value in statement["predicate"].items() if key != "approval"}
    found = check(replace(papers, statement=sign(statement | {"predicate": less}, KEYS)))
    assert any("`predicate.approval` is missing as signed" in f for f in found)
    for bad in (None, [], "x", {"papers": 3}):
        assert check(replace(papers, statement=sign(statement | {"predicate": bad}, KEYS)))


def test_true_is_not_one(papers: Papers) -> None:
    statement = signed(papers)
    forged = with_leaf(statement, ("predicate", "evaluation", "passed"), 1)
    assert any("`predicate.evaluation.passed`" in f for f in check(replace(papers, statement=sign(forged, KEYS))))


def test_truncated_envelope(papers: Papers) -> None:
    found = check(replace(papers, statement=papers.statement[:-9]))
    assert [fault[:12] for fault in found] == ["TW-PROOF-020"]


def test_other_key(papers: Papers) -> None:
    forged = make_papers(provenance(), OTHER_KEYS)
    assert [fault[:12] for fault in check(forged)] == ["TW-PROOF-022"]
    assert [fault[:12] for fault in check(papers, public=OTHER_KEYS.public)] == ["TW-PROOF-023"]


def test_swapped_papers_are_named(papers: Papers) -> None:
    other = make_papers(provenance(purpose="Something else entirely."), KEYS)
    assert check(replace(papers, aibom=other.aibom)) == ["TW-PROOF-026 aibom.cdx.json is not the file that was signed"]
    assert check(replace(papers, card=other.card)) == ["TW-PROOF-026 model-card.md is not the file that was signed"]
    assert len(check(other)) == 0  # purpose stands in the papers alone; the row pins which papers
    assert any("`statement`" in f for f in check(other, version=version(provenance(), papers)))


def test_each_changed_noun_is_noticed(papers: Papers) -> None:
    """The signed statement stands; a record behind it is changed in the database."""
    honest = provenance()
    assert honest.approval is not None
    changes: list[tuple[str, dict[str, Any]]] = [
        ("base", {"id": digest("x")}),
        ("base", {"name": "x"}),
        ("base", {"licence": "MIT"}),
        ("dataset", {"id": "dat_2"}),
        ("dataset", {"fingerprint": digest("x")}),
        ("dataset", {"tree": digest("x")}),
        ("run", {"id": "run_2"}),
        ("run", {"seed": 8}),
        ("run", {"config": {"method": "sft"}}),
        ("run", {"inputs_digest": digest("x")}),
        ("run", {"status": "failed"}),
        ("run", {"start": digest("x")}),
        ("adapter", {"kind": "qlora"}),
        ("approval", {"status": "refused"}),
        ("approval", {"reason": "other"}),
        ("approval", {"decided_by": "mallory"}),
        ("approval", {"self_granted": False}),
        ("adapter", {"id": digest("x")}),
        ("evaluation", {"report": digest("x")}),
        ("evaluation", {"passed": False}),
        ("evaluation", {"gate": {}}),
        ("evaluation", {"reasons": ()}),
        ("evaluation", {"adapter": digest("x")}),
    ]
    for noun, change in changes:
        behind = replace(honest, **{noun: replace(getattr(honest, noun), **change)})
        assert check(papers, behind), (noun, change)
    for change in ({"number": 4}, {"created_at": "2027"}, {"tool_version": "9"}):
        assert check(papers, replace(honest, **change)), change


def test_each_field_of_the_registered_row_is_checked(papers: Papers) -> None:
    row = version(provenance(), papers)
    for field in fields(row):
        if field.name in ("id", "papers"):  # names of its own; the papers' tree is hashed by the artefact store
            continue
        forged = replace(row, **{field.name: "x"})
        found = check(papers, version=forged)
        assert any(f"`{field.name}`" in fault for fault in found), field.name


def test_nouns_that_do_not_belong_together_are_not_signed() -> None:
    honest = provenance()
    mixed = replace(
        honest,
        evaluation=replace(honest.evaluation, adapter=digest("x"), run="run_9"),
        adapter_files=FILES | {"extra.bin": {"digest": digest("y"), "bytes": 1}},
    )
    with pytest.raises(ProofError) as error:
        make_papers(mixed, KEYS)
    assert {fault.code for fault in error.value.faults} == {"TW-REG-002"}
    assert len(error.value.faults) == 3


def test_folder_round_trip_and_missing_papers(papers: Papers, tmp_path) -> None:
    papers.write(tmp_path)
    assert Papers.read(tmp_path) == papers
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "NOTICE",
        "aibom.cdx.json",
        "model-card.md",
        "statement.dsse.json",
    ]
    (tmp_path / "aibom.cdx.json").unlink()
    (tmp_path / "model-card.md").unlink()
    with pytest.raises(ProofError) as error:
        Papers.read(tmp_path)
    assert [fault.code for fault in error.value.faults] == ["TW-REG-003"] * 2


def test_created_at_is_the_only_time_beside_the_runs(papers: Papers) -> None:
    assert AT in papers.card.decode().replace("\\", "")


def test_what_departs_from_a_plain_adapter_stands_in_the_statement() -> None:
    plain = provenance()
    settings = plain.run.config["adapter"]

    def predicate(*, kind: str = "lora", method: str = "sft", start: str | None = None) -> dict[str, Any]:
        adapter = settings | {"kind": kind.removesuffix("-all"), "quantise_embeddings": kind.endswith("-all")}
        config = plain.run.config | {"method": method, "adapter": adapter}
        run = replace(plain.run, config=config, start=start)
        made = replace(plain, run=run, adapter=replace(plain.adapter, kind=kind))
        assert made.faults() == []
        statement = make_statement(made, aibom="a", model_card="m")
        return {"subject": statement["subject"][0]["name"], **statement["predicate"]}

    assert "training" not in predicate()
    assert predicate(kind="qlora")["training"] == {"kind": "qlora", "method": "sft", "base_kept_in": "nf4"}
    whole = {"kind": "qlora-all", "method": "sft", "base_kept_in": "nf4-all"}
    assert predicate(kind="qlora-all")["training"] == whole
    assert predicate(start=digest("x"))["training"]["start"] == {"digest": digest("x")}
    assert predicate(method="dpo")["training"]["method"] == "dpo"
    assert predicate(kind="full")["subject"] == "claims-triage/3/model"
