import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling import attention, packed
from tuneward.modeling.base_model import load_base
from tuneward.modeling.packed import PackedDocuments

LENGTHS = (21, 1, 14, 5)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return lambda name: (
        make_tiny_base(folder / name, architecture=name) if not (folder / name).exists() else folder / name
    )


@pytest.fixture(params=["as set", "small blocks"])
def blocks(request, monkeypatch):
    """Small sizes force many blocks a document, odd columns, and weights that are computed again."""
    if request.param == "small blocks":
        monkeypatch.setattr(packed, "BLOCK_ROWS", 4)
        monkeypatch.setattr(packed, "ROUND", 3)
        monkeypatch.setattr(packed, "KEPT_TOKENS", 6)


def ids_of(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, model.config.vocab_size, (1, sum(LENGTHS)), generator=generator)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_packed_documents_equal_transformers_one_by_one(bases, architecture):
    ours = load_base(bases(architecture), precision="fp32")
    theirs = AutoModelForCausalLM.from_pretrained(bases(architecture), dtype=torch.float32, attn_implementation="eager")
    ours.requires_grad_(True)
    layout, ids = PackedDocuments(LENGTHS), ids_of(ours)
    packed = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    alone = torch.cat([theirs(input_ids=part, use_cache=False).logits for part in ids.split(LENGTHS, dim=1)], dim=1)
    torch.testing.assert_close(packed, alone, atol=2e-5, rtol=2e-5)

    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(2))
    (packed * weights).sum().backward()
    (alone * weights).sum().backward()
    mine, expected = dict(ours.named_parameters()), dict(theirs.named_parameters())
    checked = 0
    for name, parameter in expected.items():
        if parameter.grad is not None:
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(mine[name].grad, parameter.grad, atol=2e-5 * max(scale, 1.0), rtol=1e-4)
            checked += 1
    assert checked > 8


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_one_long_document_equals_sdpa(bases, architecture):
    ours = load_base(bases(architecture), precision="fp32")
    theirs = AutoModelForCausalLM.from_pretrained(bases(architecture), dtype=torch.float32, attn_implementation="sdpa")
    ids = torch.randint(0, 300, (1, 450), generator=torch.Generator().manual_seed(3))
    layout = PackedDocuments((450,))
    packed = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    torch.testing.assert_close(packed, theirs(input_ids=ids, use_cache=False).logits, atol=2e-5, rtol=2e-5)


def test_a_document_does_not_feel_its_neighbours(bases):
    model = load_base(bases("llama"), precision="fp32")
    layout, ids = PackedDocuments(LENGTHS), ids_of(model)
    other = ids.clone()
    other[:, : LENGTHS[0]] = (other[:, : LENGTHS[0]] + 7) % 300
    before, after = (
        model(input_ids=x, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
        for x in (ids, other)
    )
    assert torch.equal(before[:, LENGTHS[0] :], after[:, LENGTHS[0] :])
    assert not torch.equal(before[:, : LENGTHS[0]], after[:, : LENGTHS[0]])


def test_positions_restart_with_each_document():
    assert PackedDocuments((3, 1, 2)).position_ids().tolist() == [[0, 1, 2, 0, 0, 1]]


def test_refuses_to_run_without_a_layout(bases):
    model = load_base(bases("llama"), precision="fp32")
    with pytest.raises(ModelError) as caught:
        model(input_ids=ids_of(model), use_cache=False)
    assert caught.value.faults[0].code == "TW-BASE-031"


@pytest.mark.parametrize(
    "odd", [{"attention_mask": torch.zeros(1)}, {"s_aux": 1}, {"is_causal": False}, {"dropout": 0.1}]
)
def test_refuses_what_a_layout_does_not_compute(odd):
    arguments = {"attention_mask": None, "layout": PackedDocuments((2,))} | odd
    states = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ModelError) as caught:
        attention.attention(torch.nn.Identity(), states, states, states, **arguments)
    assert caught.value.faults[0].code == "TW-BASE-032"


def test_gradients_of_a_long_document_are_summed_in_fp32(monkeypatch):
    monkeypatch.setattr(packed, "can_attend", lambda *states: False)  # the kernels keep no sums in bf16 either way
    generator = torch.Generator().manual_seed(0)
    query, key, value, up = (torch.randn(1, 2, 1100, 16, generator=generator) for _ in range(4))

    def gradients(dtype):
        leaves = [
            t.to(dtype).float().to(dtype).requires_grad_() for t in (query.bfloat16(), key.bfloat16(), value.bfloat16())
        ]
        out = PackedDocuments((1100,)).attend(0, *leaves, attention.Scoring(0.25, None, None))
        out.backward(up.bfloat16().to(dtype).transpose(1, 2))
        return [leaf.grad.float() for leaf in leaves[1:]]

    exact, ours = gradients(torch.float32), gradients(torch.bfloat16)
    zeros_like = torch.zeros_like
    monkeypatch.setattr(torch, "zeros_like", lambda t, dtype=None: zeros_like(t))
    summed_in_bf16 = gradients(torch.bfloat16)
    for right, new, old in zip(exact, ours, summed_in_bf16, strict=True):
        assert (new - right).norm() < 0.9 * (old - right).norm()
