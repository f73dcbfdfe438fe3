import pytest
import torch
from torch import nn

from tests.modeling.test_lora import distance
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.base_model import OutputHead, hidden_states, load_base, prove
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.generate import generate
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import Nf4Matrix, quantise, weight_bytes, weight_count
from tuneward.modeling.quantised_ends import (
    Nf4Embedding,
    Nf4Head,
    head_product,
    quantise_ends,
    slice_rows,
    slices,
    why_whole,
)

IDS = torch.arange(3, 22).unsqueeze(0)
LAYOUT = PackedDocuments((19,))


BASES = {
    "tied": ("llama", True),
    "untied": ("llama", False),
    "capped": ("gemma2", True),
    "scaled": ("gemma3_text", True),
}


@pytest.fixture(scope="module", params=BASES.values(), ids=BASES)
def base(request, tmp_path_factory):
    """Folder, and whether embedding and head are one matrix."""
    architecture, tied = request.param
    folder = tmp_path_factory.mktemp("base")
    return make_tiny_base(folder, architecture=architecture, tie_word_embeddings=tied), tied


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(300, 64), (1000, 576), (50, 192)])
def test_rows_are_those_of_the_matrix_made_whole(shape, dtype):
    torch.manual_seed(0)
    kept = Nf4Matrix(torch.randn(shape, dtype=dtype))
    whole = kept.dequantise()
    ids = torch.tensor([0, shape[0] - 1, 3, 3, 7])
    assert torch.equal(kept.rows(ids), whole[ids])
    assert torch.equal(Nf4Embedding(kept)(ids.view(1, 5)), whole[ids].view(1, 5, -1))
    for most in (1, 10_000, 1 << 30):
        parts = list(slices(kept, most))
        assert [at.start for at, _ in parts] == list(range(0, shape[0], slice_rows(kept, most)))
        assert all(part.shape[0] == 1 or part.numel() * dtype.itemsize <= most for _, part in parts)
        assert torch.equal(torch.cat([part for _, part in parts]), whole)
    ((at, same),) = slices(whole, 1)
    assert (same is whole, at) == (True, slice(0, shape[0]))


def test_a_product_in_slices_is_the_plain_one(monkeypatch):
    monkeypatch.setattr("tuneward.modeling.quantised_ends.PIECE_BYTES", 64 * 4 * 40)
    torch.manual_seed(1)
    kept, bias = Nf4Matrix(torch.randn(300, 64)), torch.randn(300)
    x = torch.randn(2, 5, 64, requires_grad=True)
    wanted = nn.functional.linear(x, kept.dequantise(), bias)
    probe = torch.randn(wanted.shape)
    found = Nf4Head(kept, nn.Parameter(bias, requires_grad=False))(x)
    assert distance(found, wanted) < 1e-6
    gradients = [torch.autograd.grad((y * probe).sum(), x)[0] for y in (found, wanted)]
    assert distance(*gradients) < 1e-6
    assert distance(head_product(x, kept), wanted - bias) < 1e-6


def dequantised(model):
    """The same model with plain ends of the same numbers."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    plain = Scaled(
        *embedding.weight.shape, scale=1.0 if embedding.embed_scale is None else embedding.embed_scale.item()
    )
    plain.weight = nn.Parameter(embedding.weight.dequantise())
    made = nn.Linear(head.in_features, head.out_features, bias=False)
    made.weight = nn.Parameter(head.weight.dequantise())
    model.set_input_embeddings(plain)
    model.set_output_embeddings(made)
    return model.requires_grad_(False)


def test_a_base_computes_what_the_same_numbers_compute(base):
    folder, tied = base
    mine = load_base(folder, precision="fp32", quantisation="nf4-all")
    prove(mine)
    assert isinstance(mine.get_input_embeddings(), Nf4Embedding)
    assert isinstance(mine.get_output_embeddings(), Nf4Head)
    assert (mine.get_input_embeddings().weight is mine.get_output_embeddings().weight) == tied
    assert why_whole(mine) == ""
    plain = dequantised(load_base(folder, precision="fp32", quantisation="nf4-all"))
    with torch.no_grad():
        states = [hidden_states(model, IDS, LAYOUT)[0] for model in (mine, plain)]
        logits = [OutputHead.of(model).logits(seen) for model, seen in zip((mine, plain), states, strict=True)]
    assert torch.equal(*states)
    assert distance(*logits) < 1e-6
    assert distance(states[0], hidden_states(load_base(folder, precision="fp32"), IDS, LAYOUT)[0]) > 0.01
    prompts = [[1, 2, 3], [7, 8]]
    assert generate(mine, prompts, max_tokens=5) == generate(plain, prompts, max_tokens=5)


def test_all_of_it_is_counted_once_and_stays_one(base):
    folder, tied = base
    model, plain = (load_base(folder, precision="bf16", quantisation=kept) for kept in ("nf4-all", "none"))
    assert weight_count(model) == weight_count(plain)
    model.to("cpu").to(torch.bfloat16)
    kept = [buffer for matrix in model.modules() if isinstance(matrix, Nf4Matrix) for buffer in matrix.buffers()]
    held = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *kept)}
    assert weight_bytes(model) == sum(held.values())
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    assert weight_bytes(model) < 0.35 * weight_bytes(plain)  # norms weigh in so small a model


class Scaled(nn.Embedding):
    """As Gemma's, which multiplies what it looks up."""

    def __init__(self, *sizes, scale):
        super().__init__(*sizes)
        self.register_buffer("embed_scale", torch.tensor(scale), persistent=False)

    def forward(self, ids):
        return super().forward(ids) * self.embed_scale.to(self.weight.dtype)


class Shifted(nn.Embedding):
    def forward(self, ids):
        return super().forward(ids) + 1


class Small(nn.Module):
    def __init__(self, embedding, head):
        super().__init__()
        self.embedding, self.head = embedding, head
        self.requires_grad_(False)

    def get_input_embeddings(self):
        return self.embedding

    def get_output_embeddings(self):
        return self.head


def test_a_factor_of_the_architecture_is_kept():
    model = Small(Scaled(50, 64, scale=8.0), nn.Linear(64, 50, bias=True))
    bias = model.head.bias
    quantise_ends(model)
    ids = torch.tensor([4, 9])
    assert torch.equal(model.embedding(ids), 8.0 * model.embedding.weight.dequantise()[ids])
    assert torch.equal(model.head.bias, bias)
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            Small(nn.Embedding(50, 96), nn.Linear(96, 50)),
            "the embedding has rows of 96 weights, .*; the output head has",
        ),
        (Small(Shifted(50, 64), nn.Linear(64, 50)), r"^the embedding computes in its own way \(Shifted\)$"),
        (Small(nn.Embedding(50, 64), None), "^the output head is no matrix$"),
    ],
)
def test_what_stays_says_why(model, told):
    before = model.embedding
    quantise_ends(model)
    assert (model.embedding is before) == ("embedding" in told)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(why_whole(model))


def test_one_of_two_that_are_tied_stays_with_the_other():
    model = Small(Shifted(50, 64), nn.Linear(64, 50, bias=False))
    model.head.weight = model.embedding.weight
    quantise_ends(model)
    assert model.head.weight is model.embedding.weight
    assert why_whole(model) == "the embedding computes in its own way (Shifted); the output head is tied to the other"


def test_layers_alone_leave_the_ends_as_they_are(base):
    model = load_base(base[0], precision="fp32")
    assert quantise(model) > 0
    assert type(model.get_output_embeddings()) is nn.Linear


def test_the_head_is_no_target_and_is_told_so(base):
    model = load_base(base[0], precision="fp32", quantisation="nf4-all")
    with pytest.raises(ModelError, match="TW-BASE-038"):
        add_lora(model, AdapterConfig(kind="qlora", rank=2, targets=("lm_head",)), seed=0)
    assert "lm_head" not in add_lora(model, AdapterConfig(kind="qlora", rank=2), seed=0)
