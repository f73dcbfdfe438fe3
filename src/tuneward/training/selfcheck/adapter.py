"""Checks of adapters: the low-rank product, merging, four bits, and what a save leaves.

Place on the road: the part of the self-check about ``modeling.lora``, ``merge`` and the files that training leaves.
"""

import json
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from tuneward.errors import MachineError, ModelError
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.base_model import OutputHead, hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import ExpertUpdate, LoraExperts, LoraLinear, Update, set_weights, weights_of
from tuneward.modeling.merge import Merged
from tuneward.modeling.quantisation import BLOCK, Nf4Linear, Nf4Matrix
from tuneward.modeling.quantised_ends import Nf4Embedding
from tuneward.training.batches import Window
from tuneward.training.losses.head import token_log_probs
from tuneward.training.selfcheck.statement import (
    GRADIENTS,
    VALUES,
    Measured,
    NotApplicableError,
    Statement,
    distance,
    probe,
    unequal,
    worst,
)
from tuneward.training.selfcheck.subject import Adapted, Subject
from tuneward.training.trainable import FullTrainable, LoraTrainable

#: What one rounding of a weight may change, relative; in fp32 also the order of the sum.
ROUNDING = {torch.bfloat16: 1.01 * 2.0**-8, torch.float16: 1.01 * 2.0**-11, torch.float32: 2.0**-20}
REFUSED = "TW-BASE-039"

#: Tokens of an embedding that is put into four bits.
MOST_ROWS = 4096


def lora(subject: Subject) -> Measured:
    """Logits and gradients with the adapter, and with the dense formula in each layer's place."""
    adapted = subject.whole
    window = Window.pack(subject.short_rows())
    results = []
    for plain in (False, True):
        hooks = _dense(adapted) if plain else []
        try:
            states = hidden_states(adapted.model, window.ids, window.layout)[0][window.places]
        finally:
            for hook in hooks:
                hook.remove()
        results.append((adapted.head.logits(states.detach()), adapted.gradients(probe(states))))
    logits, gradients = (distance(one, two) for one, two in zip(*results, strict=True))
    return worst((logits, VALUES, "logits"), (gradients, GRADIENTS, "gradients"), on=adapted.on)


def _dense(adapted: Adapted) -> list[RemovableHandle]:
    """Hooks that put ``x (W + s B A)ᵀ + bias`` in the place of a layer's output, computed by autograd alone.

    Experts are computed by the library, from such weights.
    """

    def linear(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        layer = cast(LoraLinear, module)
        return nn.functional.linear(inputs[0], formula(layer, adapted.config), layer.base.bias)

    def experts(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        updates = {name: part for name, part in module.named_children() if isinstance(part, ExpertUpdate)}
        weights = {name: formula(update, adapted.config) for name, update in updates.items()}
        return cast(Tensor, functional_call(cast(LoraExperts, module).base, weights, inputs))

    known = {LoraLinear: linear, LoraExperts: experts}
    modules = [module for module in adapted.model.modules() if type(module) in known]
    return [module.register_forward_hook(known[type(module)]) for module in modules]


def formula(layer: Update, config: AdapterConfig) -> Tensor:
    """``W + s B A`` of a layer or of every expert; with DoRA each row brought to its magnitude, its length held."""
    scale = config.alpha / (math.sqrt(config.rank) if config.rslora else config.rank)
    change = scale * (layer.b @ layer.a)
    if isinstance(layer, ExpertUpdate):
        return layer.base.weight + (change.mT if layer.base.transposed else change)
    weight = layer.base.weight + change
    if layer.magnitude is None:
        return weight
    return weight * (layer.magnitude / weight.detach().norm(dim=1)).unsqueeze(1)


def merged(subject: Subject) -> Measured:
    """Hidden states with the adapter, and with every update merged into its weight in fp32."""
    adapted, window = subject.fresh(), Window.pack(subject.short_rows())
    with torch.no_grad():
        ours = hidden_states(adapted.model, window.ids, window.layout)
        for layer in adapted.layers.values():
            layer.base.weight.copy_(layer.merged())
        for path, module in list(adapted.model.named_modules()):
            if isinstance(module, LoraLinear | LoraExperts):
                parent, _, name = path.rpartition(".")
                setattr(adapted.model.get_submodule(parent), name, module.base)
        theirs = hidden_states(adapted.model, window.ids, window.layout)
    return Measured(distance(ours, theirs), adapted.on, VALUES)


def copy(subject: Subject) -> Measured:
    """Each weight of a written copy, read back, against base plus update, rounded once to the type of the files."""
    adapted = subject.few
    written, stored = _merged_copy(subject, adapted)
    names = {p if isinstance(x, ExpertUpdate) else f"{p}.weight": x for p, x in adapted.layers.items()}
    base = dict(load_base(subject.cut.folder, precision="fp32").named_parameters())
    found, parameters = 0.0, dict(written.named_parameters())
    if set(parameters) != set(base):
        return Measured(math.inf, adapted.on, detail="the copy has other weights than the base")
    for name, value in parameters.items():
        if name in names:
            wanted = formula(names[name], adapted.config).detach()
            terms = wanted.abs() + names[name].base.weight.abs()  # which may cancel
            found = max(found, float(((value - wanted).abs() / terms.clamp(min=1e-30)).max()))
        elif not torch.equal(value, base[name]):
            return Measured(math.inf, adapted.on, detail=f"{name} has no update and was changed")
    return Measured(found, adapted.on, ROUNDING[stored], detail="a weight is off by more than one rounding")


def refused(subject: Subject) -> Measured:
    """A copy of a base whose files are quantised, and a merge into a layer in four bits, are refused."""
    adapted, missed = subject.few, 0
    folder = subject.new_folder()
    config = json.loads((subject.base / "config.json").read_bytes())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    missed += _allowed(lambda: Merged(folder, weights_of(adapted.layers, adapted.config)))
    layer = _four_bits(subject)
    if layer is not None:
        missed += _allowed(lambda: LoraLinear(layer, adapted.config, torch.Generator()).merged())
    return Measured(missed, adapted.on, unit="merges", detail="a merge into four bits was not refused")


def four_bits(subject: Subject) -> Measured:
    """A layer in four bits against a plain layer with its dequantised weight: output and the input's gradient."""
    first, layer = _first(subject), _four_bits(subject)
    if first is None:
        raise NotApplicableError("the adapter changes experts only, which are not kept in four bits")
    if layer is None:
        raise NotApplicableError("bitsandbytes is not installed, so no base is kept in four bits")
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.weight = nn.Parameter(layer.dequantise(), requires_grad=False)
    if layer.bias is not None:
        plain.bias = layer.bias
    adapted = [LoraLinear(x, subject.few.config, torch.Generator().manual_seed(3)) for x in (layer, plain)]
    results = []
    for one in adapted:
        with torch.no_grad():
            one.b.normal_(generator=torch.Generator().manual_seed(4))
        x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(5)).requires_grad_(True)
        y = one(x)
        y.square().sum().backward()
        grads = (x.grad, one.a.grad, one.b.grad)
        results.append({"y": y.detach(), **{str(i): g for i, g in enumerate(grads) if g is not None}})
    lost = (layer.dequantise() - first.base.weight).norm() / first.base.weight.norm()
    if not 0.01 < lost < 0.2:  # NF4 on a bell curve: about a tenth
        return Measured(float(lost), subject.few.on, 0.2, detail="the weight in four bits is not the base's")
    return worst(
        (distance(results[0], results[1]), VALUES, "numbers of a layer"),
        (_ends_in_four_bits(subject), VALUES, "numbers of embedding or head"),
        on=subject.few.on,
    )


def _ends_in_four_bits(subject: Subject) -> float:
    """Rows looked up, log-probabilities and their gradients, of a head made whole and of one in slices."""
    model, draw = subject.few.model, torch.Generator().manual_seed(6)
    weight = cast(Any, model.get_input_embeddings()).weight.detach()[:MOST_ROWS]
    wide = torch.nn.functional.pad(weight, (0, -weight.shape[1] % BLOCK))  # whole blocks
    kept = Nf4Matrix(wide)
    plain = kept.dequantise()
    ids = torch.randint(0, kept.out_features, (7,), generator=draw)
    if not torch.equal(Nf4Embedding(kept)(ids), plain[ids]):
        return math.inf
    start = torch.randn(7, kept.in_features, generator=draw)
    results: list[dict[str, Tensor]] = []
    heads = (OutputHead(plain, None, 1.0, None), OutputHead(kept, None, 1.0, None))
    room = plain.numel() * plain.element_size()
    for head, chunk in ((heads[0], room), (heads[1], room), (heads[1], room // 8)):
        states = start.clone().requires_grad_(True)
        values = token_log_probs(states, ids, head, chunk_bytes=chunk)
        (gradient,) = torch.autograd.grad(values.sum(), states)
        results.append({"log-probabilities": values.detach(), "gradient": gradient})
    return max(distance(found, results[0]) for found in results[1:])


def adapter_reloaded(subject: Subject) -> Measured:
    """Hidden states with the adapter, and with its saved folder put beside the base anew."""
    adapted, folder = subject.few, subject.new_folder()
    LoraTrainable(adapted.layers, adapted.config).save(folder, base_name="base")
    again = subject.fresh(filled=False, seed=1)
    set_weights(again.layers, load_adapter(folder))
    return _same_states(subject, adapted.model, again.model)


def model_reloaded(subject: Subject) -> Measured:
    """Every weight and the hidden states of a fully trained model, and of its saved folder."""
    model = _moved(subject)
    folder = subject.new_folder()
    FullTrainable(model).save(folder, base_name="base")
    again = load_base(folder, precision="fp32")
    weights = unequal(dict(again.named_parameters()), dict(model.named_parameters()))
    states = _same_states(subject, model, again)
    return Measured(weights + states.difference, states.on, unit="numbers", detail="a saved weight was not read back")


def tied(subject: Subject) -> Measured:
    """Embedding and output head after a full save and after a merge, read back: one matrix, with its numbers."""
    if not getattr(subject.few.model.config.get_text_config(), "tie_word_embeddings", False):
        raise NotApplicableError("the base's output head is a matrix of its own")
    model, folder = _moved(subject), subject.new_folder()
    FullTrainable(model).save(folder, base_name="base")
    pairs = [(load_base(folder, precision="fp32"), model), (_merged_copy(subject, subject.few)[0], subject.few.model)]
    wrong = 0
    for again, before in pairs:
        embedding, head = (cast(Any, m).weight for m in (again.get_input_embeddings(), again.get_output_embeddings()))
        wanted = cast(Any, before.get_input_embeddings()).weight
        wrong += int((head != wanted).sum()) + int((embedding != wanted).sum()) + (head is not embedding)
    return Measured(wrong, subject.few.on, unit="numbers", detail="embedding and head came apart")


def _merged_copy(subject: Subject, adapted: Adapted) -> tuple[PreTrainedModel, torch.dtype]:
    """A merged copy read back in fp32, and the type of its files."""
    folder = subject.new_folder()
    Merged(subject.cut.folder, weights_of(adapted.layers, adapted.config)).save(folder)
    stored = json.loads((folder / "config.json").read_bytes())
    text = stored.get("text_config") or stored
    name = text.get("dtype") or text.get("torch_dtype") or stored.get("dtype") or "float32"
    return load_base(folder, precision="fp32"), getattr(torch, name)


def _moved(subject: Subject) -> PreTrainedModel:
    """A base, every weight of which has moved as training would move it."""
    model = load_base(subject.cut.folder, precision="fp32")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-3 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def _same_states(subject: Subject, one: PreTrainedModel, two: PreTrainedModel) -> Measured:
    window = Window.pack(subject.short_rows())
    states = [{"states": hidden_states(model, window.ids, window.layout)} for model in (one, two)]
    return Measured(
        unequal(states[0], states[1]), subject.cut.told, unit="numbers", detail="what was read back differs"
    )


def _four_bits(subject: Subject) -> Nf4Linear | None:
    """The adapter's first linear layer in four bits; None where that is not to be had."""
    first = _first(subject)
    try:
        return None if first is None else Nf4Linear(cast(nn.Linear, first.base))
    except MachineError:
        return None


def _first(subject: Subject) -> LoraLinear | None:
    return next((layer for layer in subject.few.layers.values() if isinstance(layer, LoraLinear)), None)


def _allowed(merge: Callable[[], object]) -> bool:
    """Whether ``merge`` went through; True also where it was refused for another reason than four bits."""
    try:
        merge()
    except ModelError as error:
        return all(fault.code != REFUSED for fault in error.faults)
    return True


STATEMENTS: dict[str, Statement] = {
    "lora": Statement(
        "The adapter computes its formula.",
        "logits and the adapter's gradients, against the dense weight W + s B A in each layer and expert",
        lora,
    ),
    "four bits": Statement(
        "What is kept in four bits computes as its dequantised weight.",
        "output and gradients of a layer, rows of an embedding, log-probabilities of a head in NF4, against plain ones",
        four_bits,
    ),
    "merged": Statement(
        "Merged weights compute what the adapter does.",
        "hidden states with the adapter and with its updates merged in fp32",
        merged,
    ),
    "merged copy": Statement(
        "A written copy is base plus update, rounded once.",
        "each weight of a merged copy, read back; tolerance is one rounding of the files' type",
        copy,
    ),
    "merge refused": Statement(
        "Merging into weights of four bits is refused.",
        "a copy of a quantised base, and a layer in four bits where they are to be had",
        refused,
    ),
    "tied embeddings": Statement(
        "Tied embeddings survive save, merge and reload.",
        "embedding and head of a saved and of a merged model, read back",
        tied,
    ),
    "adapter reloaded": Statement(
        "A saved adapter is the one that was trained.",
        "hidden states before saving and after reading it back beside a fresh base, bit for bit",
        adapter_reloaded,
    ),
    "model reloaded": Statement(
        "A saved model is the one that was trained.",
        "weights and hidden states of a fully trained model, saved and read back, bit for bit",
        model_reloaded,
    ),
}
