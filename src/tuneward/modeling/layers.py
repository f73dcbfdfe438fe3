"""Decoder layers: where a model of any architecture keeps them.

Place on the road: beneath whatever works layer by layer: recomputing, sharding, measuring, planning. No architecture
is named; knows no adapter.
"""

from torch import nn
from transformers import PreTrainedModel


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The list of modules that holds most of the weights, in the order in which they compute.

    Lists within a layer (experts, projections) hold less than the list of all layers. Empty where an architecture has
    no list at all.
    """
    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda part: sum(p.numel() for p in part.parameters()), default=nn.ModuleList())
