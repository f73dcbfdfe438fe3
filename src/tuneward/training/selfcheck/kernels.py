"""Check of the compiled kernels: on this model and these rows they are as near to fp32 as PyTorch's operations are.

Place on the road: the part of the self-check about ``modeling.kernels``. The only one that computes in bf16, which is
what the kernels are for: two ways to one result then differ by rounding, and what can be asked is that neither is
further from the truth.
"""

import torch
from torch import Tensor

from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.fused import fuse
from tuneward.modeling.kernels.loading import compiled, left_out
from tuneward.modeling.lora import add_lora, set_weights, weights_of
from tuneward.training.batches import Window
from tuneward.training.losses.head import token_log_probs
from tuneward.training.selfcheck.statement import Measured, NotApplicableError, Statement, probe
from tuneward.training.selfcheck.subject import Adapted, Subject

#: Of two results that are rounded at different places one is further from the truth by chance: by a quarter at most in
#: fifteen tiny models. Attention that is off by a fiftieth makes it twice as far, the head's by a hundredth five times.
NEAR = 2.0

#: What configs call the number of a mixture's experts.
ROUTED = ("num_local_experts", "num_experts", "n_routed_experts")

#: Logits of the loss head at a time.
CHUNK_BYTES = 1 << 24


def kernels(subject: Subject) -> Measured:
    """How far from fp32 log-probabilities and gradients are with the kernels, as a share of how far without."""
    if compiled() is None:
        raise NotApplicableError("no kernels here: built without a C compiler, or the processor multiplies no bf16")
    if any(getattr(subject.few.model.config.get_text_config(), name, None) for name in ROUTED):
        raise NotApplicableError("a token may take another expert for one rounding, here as well as there")
    window, exact = Window.pack(subject.short_rows()), subject.few
    wanted = _computed(exact, window)
    with left_out():
        without = _errors(_computed(_in_bf16(subject), window), wanted)
    ours = _errors(_computed(_in_bf16(subject), window), wanted)
    shares = {part: error / without[part] for part, error in ours.items()}
    part = max(shares, key=lambda name: shares[name])
    told = f"with kernels the {part} are {ours[part]:.2g} from fp32, without {without[part]:.2g}"
    return Measured(shares[part], exact.on, NEAR, unit="of the distance without", detail=told)


def _in_bf16(subject: Subject) -> Adapted:
    model = load_base(subject.cut.folder, precision="bf16")
    fuse(model)
    adapted = Adapted(model, add_lora(model, subject.adapter, seed=0), subject.adapter, subject.cut.told)
    set_weights(adapted.layers, weights_of(subject.few.layers, subject.adapter))
    return adapted


def _computed(adapted: Adapted, window: Window) -> dict[str, Tensor]:
    # of every token, learned or not: of few numbers one side is the further away by chance
    states, following = hidden_states(adapted.model, window.ids, window.layout)[0], window.ids[0].roll(-1)
    found = token_log_probs(states, following, adapted.head, chunk_bytes=CHUNK_BYTES)
    gradients = adapted.gradients(probe(found))
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()])
    return {"log-probabilities": found.detach(), "gradients": whole}


def _errors(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    return {name: float((found[name].double() - wanted[name].double()).norm()) for name in wanted}


STATEMENTS: dict[str, Statement] = {
    "kernels": Statement(
        "Compiled kernels are as exact as PyTorch's operations.",
        "log-probabilities and the adapter's gradients in bf16, each by its distance from fp32",
        kernels,
    ),
}
