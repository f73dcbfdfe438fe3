"""Wire: what is said between gateway and engine, as OpenAI's routes spell it.

Place on the road: under ``serving/client``. Pure functions over JSON values and bytes; knows no socket. Foreign names
(``completion_tokens``) become ours (``answer_tokens``) here and nowhere else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneward.domain.record import Message
from tuneward.errors import Fault, ServingError

#: How a server of ours ends the message of a refusal; told anew by whoever passes it on.
_OUR_CODE = re.compile(r" \[TW-[A-Z]+-\d{3}\]")


@dataclass(frozen=True)
class Usage:
    """Tokens as the engine counted them."""

    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        id: as the server names it; the gateway's names the audit event.
        text: what the model wrote.
        finish_reason: ``stop`` or ``length``.
        prompt_tokens: tokens of the rendered prompt.
        answer_tokens: tokens of the answer.
        seconds: from request to last byte, waiting in the engine's queue included.
    """

    id: str
    text: str
    finish_reason: str
    prompt_tokens: int
    answer_tokens: int
    seconds: float


@dataclass(frozen=True)
class Piece:
    """A part of a streamed answer; any of its members may be empty.

    Attributes:
        text: further text.
        finish_reason: set in the last piece that belongs to the choice.
        logprobs: the choice's ``logprobs`` object, as the engine sent it.
        usage: set in the piece that closes the stream.
    """

    text: str = ""
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None
    usage: Usage | None = None


def body(
    model: str, prompt: str | Sequence[Message], options: Mapping[str, Any], *, stream: bool
) -> tuple[str, dict[str, Any]]:
    """Route and JSON body of a request: messages go to the chat route, a plain string to completions."""
    request: dict[str, Any] = {"model": model, **options}
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    if isinstance(prompt, str):
        return "/v1/completions", {**request, "prompt": prompt}
    return "/v1/chat/completions", {**request, "messages": [{"role": m.role, "content": m.content} for m in prompt]}


def read_answer(value: Any, *, seconds: float) -> Answer:
    """An unstreamed response of either route.

    Raises:
        ServingError: when it has another shape.
    """
    try:
        choice, usage = value["choices"][0], value["usage"]
        return Answer(
            id=str(value.get("id", "")),
            text=(choice["message"]["content"] if "message" in choice else choice["text"]) or "",
            finish_reason=str(choice["finish_reason"]),
            prompt_tokens=int(usage["prompt_tokens"]),
            answer_tokens=int(usage["completion_tokens"]),
            seconds=seconds,
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise strange("an answer without choices or usage") from None


def read_piece(value: Any) -> Piece:
    """One chunk of a stream of either route.

    Raises:
        ServingError: when the chunk is an error, or has another shape.
    """
    if isinstance(value, dict) and value.get("error"):
        raise refusal(500, value)
    try:
        usage = value.get("usage")
        counted = Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
        if not value["choices"]:
            return Piece(usage=counted)
        choice = value["choices"][0]
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        return Piece(text or "", choice.get("finish_reason"), choice.get("logprobs"), counted)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise strange("a chunk without choices") from None


class EventReader:
    """Splits server-sent events out of bytes, for every chunking: ``feed(a) + feed(b) == feed(a + b)``.

    Splits at line feeds only. (Readers of text lines also split at U+2028, which may stand raw inside JSON.)
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The payloads of the ``data:`` lines that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line[5:].strip().decode() for line in lines if line.startswith(b"data:")]


def strange(what: str) -> ServingError:
    """The engine said something that is no OpenAI shape."""
    return ServingError(Fault("TW-SERV-034", f"the engine sent {what}", cure="read the engine's log"))


def refusal(status: int, value: Any) -> ServingError:
    """The error object of a response, as ours: the caller's fault stays distinguishable from the engine's."""
    error = value.get("error") if isinstance(value, dict) else None
    error = error if isinstance(error, dict) else {"message": error if isinstance(error, str) else None}
    message = str(error.get("message") or f"HTTP {status} without a reason")
    place = str(error.get("param") or "")
    message = _OUR_CODE.sub("", message.removeprefix(f"{place}: "))
    if error.get("code") == "context_length_exceeded":
        return ServingError(Fault("TW-SERV-036", message, place, "shorten the prompt or lower max_tokens"))
    if status == 401:
        return ServingError(Fault("TW-SERV-041", message, place, "`tuneward key create NAME` makes a key"))
    if status in {400, 413, 422}:
        return ServingError(Fault("TW-SERV-035", message, place, "change the request"))
    return ServingError(Fault("TW-SERV-034", message, place, "read the engine's log"))


def read_json(data: bytes) -> Any:
    """JSON of a response, or None when it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # a foreign server's brackets may go deeper than can be read
        return None
