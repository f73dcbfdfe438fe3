"""What tests of chats share: tokenizers of bytes, folders of a base's chat files, and templates that know tools."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from tuneward.modeling.chat import Chat

#: As Qwen 2.5: calls and results between tags that are no control tokens; results speak as the user.
QWEN = """\
{%- if tools %}
{{- '<|im_start|>system\\n# Tools\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role in ('user', 'system') or (message.role == 'assistant' and not message.tool_calls) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant' }}{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
{%- for call in message.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
#: As Qwen 3: an empty thought before the last answer only, and in the opening where thinking is off.
THINKING = (
    QWEN.replace(
        "{{- '<|im_start|>' + message.role + '\\n' + message.content",
        "{{- '<|im_start|>' + message.role + '\\n' }}"
        "{%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
        "{{- message.content",
    )
    .replace(
        "{{- '<|im_start|>assistant' }}{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}",
        "{{- '<|im_start|>assistant\\n' }}{%- if loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
        "{{- message.content }}",
    )
    .replace(
        "{{- '<|im_start|>assistant\\n' }}{%- endif %}\n",
        "{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}\n",
    )
)
#: As Llama 3.1: one call a turn, its words are left out; results have a role of their own.
LLAMA = """\
{{- bos_token }}{%- if tools %}{{- '<|start|>system<|end|>\\n\\n' + (tools | tojson) + '<|eot|>' }}{%- endif %}
{%- for message in messages %}
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{- raise_exception('one call at once') }}{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start|>assistant<|end|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
{{- call.arguments | tojson }}{{- '}<|eot|>' }}
{%- elif message.role == 'tool' %}
{{- '<|start|>ipython<|end|>\\n\\n' + message.content + '<|eot|>' }}
{%- else %}
{{- '<|start|>' + message.role + '<|end|>\\n\\n' + message.content | trim + '<|eot|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}
"""
#: As Mistral v0.3: calls begin with a control token, the template opens no answer, and ids must have nine characters.
MISTRAL = """\
{{- bos_token }}{%- if tools %}{{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}{{- '[INST] ' + message.content + '[/INST]' }}
{%- elif message.tool_calls %}{{- '[TOOL_CALLS] [' }}
{%- for call in message.tool_calls %}
{%- if call.id | length != 9 %}{{- raise_exception('ids have nine characters') }}{%- endif %}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) }}
{{- ', "id": "' + call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
{%- endfor %}{{- ']' + eos_token }}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS] {"content": ' + (message.content | string) + ', "call_id": "' + message.tool_call_id }}
{{- '"}[/TOOL_RESULTS]' }}
{%- elif message.role == 'assistant' %}{{- ' ' + message.content + eos_token }}
{%- else %}{{- raise_exception('no such role') }}{%- endif %}
{%- endfor %}
"""
TEMPLATES = {  # name: template, control tokens, start, end
    "qwen": (QWEN, ["<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
    "thinking": (THINKING, ["<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
    "llama": (LLAMA, ["<s>", "<|start|>", "<|end|>", "<|eot|>"], "<s>", "<|eot|>"),
    "mistral": (
        MISTRAL,
        ["<s>", "</s>", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
        "<s>",
        "</s>",
    ),
}


def bytes_tokenizer(specials: list[str], *, start: str | None = None) -> Tokenizer:
    """A token per byte; ``start`` is set before every text by the tokenizer itself."""
    tokens = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    if start:
        single = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
        tokenizer.post_processor = single
    return tokenizer


def make_chat(folder: Path, name: str) -> Chat:
    """The chat of a template of ``TEMPLATES``."""
    template, specials, start, end = TEMPLATES[name]
    folder.mkdir(parents=True, exist_ok=True)
    bytes_tokenizer(specials, start=start).save(str(folder / "tokenizer.json"))
    config = {"eos_token": end, **({"bos_token": start} if start else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return Chat.load(folder)


def learned(chat: Chat, ids: tuple[int, ...], labels: tuple[int, ...]) -> list[str]:
    """Decoded runs of learned tokens."""
    runs: list[list[int]] = [[]]
    for number, label in zip(ids, labels, strict=True):
        if label >= 0:
            runs[-1].append(number)
        elif runs[-1]:
            runs.append([])
    return [chat.decode(run, control=True) for run in runs if run]
