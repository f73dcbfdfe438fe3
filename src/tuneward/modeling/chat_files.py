"""Chat files: tokenizer and chat template as a base's folder holds them.

Place on the road: read by ``chat``. Knows Hugging Face's file names; imports neither torch nor transformers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tuneward.errors import Fault, ModelError
from tuneward.modeling.template import Template


def load_tokenizer(folder: Path, config: Mapping[str, Any], faults: list[Fault]) -> Tokenizer | None:
    """The tokenizer of a base's folder, its added tokens agreed with the configuration; None and faults otherwise."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        cure = "take a base whose folder has tokenizer.json (transformers' save_pretrained writes it)"
        faults.append(Fault("TW-BASE-020", "tokenizer.json is missing", str(folder), cure))
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for every fault
        faults.append(Fault("TW-BASE-020", f"cannot be read: {error}", str(file), "fetch the base again"))
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for number, added in sorted((config.get("added_tokens_decoder") or {}).items(), key=lambda item: int(item[0])):
        token = AddedToken(**{key: value for key, value in added.items() if key != "__type"})
        if tokenizer.id_to_token(int(number)) is None or token.special:
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
        if tokenizer.token_to_id(token.content) != int(number):
            message = f"tokenizer.json gives {token.content!r} another id than tokenizer_config.json's {number}"
            faults.append(Fault("TW-BASE-020", message, str(folder), "fetch the base again"))
    return tokenizer


def load_template(
    folder: Path, config: Mapping[str, Any], names: Mapping[str, str], faults: list[Fault]
) -> Template | None:
    """The chat template of a base's folder, or the default one of its tokenizer's configuration."""
    file, source = folder / "chat_template.jinja", config.get("chat_template")
    if file.is_file():
        source = file.read_text(encoding="utf-8")
    elif isinstance(source, list):  # several named templates, as transformers keeps them
        source = {entry["name"]: entry["template"] for entry in source}.get("default")
    if not source:
        cure = (
            "take the instruction-tuned model of the same family, or put a chat_template.jinja into the base's folder"
        )
        faults.append(Fault("TW-BASE-021", "there is no chat template", str(folder), cure))
        return None
    try:
        return Template(source, names)
    except ModelError as error:
        faults.extend(error.faults)
        return None


def read_object(file: Path, faults: list[Fault]) -> dict[str, Any]:
    """A JSON object, empty where there is no file; a fault where it is something else."""
    try:
        value = json.loads(file.read_bytes()) if file.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        faults.append(Fault("TW-BASE-005", "is not a JSON object", str(file), "fetch the base again"))
        return {}
    return value


def token_text(token: Any) -> str:
    """The text of a special token, which configurations write as text or as an object."""
    return token["content"] if isinstance(token, dict) else str(token)
