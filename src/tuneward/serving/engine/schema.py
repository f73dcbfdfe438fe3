"""Schema: what the engine's OpenAI routes accept, and the shapes in which they answer.

Place on the road: at the engine's HTTP face. What the engine cannot do is refused, not ignored: a field that is not
here, or a value other than the neutral one, is a 400 that names every fault. Shapes as OpenAI's API reference (chat
completions, completions) has them and openai-python 3 reads them. Knows no model.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tuneward.domain.record import Message
from tuneward.serving.engine.answer import Token
from tuneward.serving.engine.sampler import Sampling
from tuneward.serving.engine.scheduler import End

StopText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's default for /v1/completions


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(_Strict):
    """``stream_options``."""

    include_usage: bool = False


class TextPart(_Strict):
    """A part of a message's content; text is the only kind."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """One message; the model has seen no other roles and no tools."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> Message:
        """As the domain's message; ``developer`` is OpenAI's newer name of ``system``."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, content)


class ResponseFormat(_Strict):
    """``response_format``: plain text only."""

    type: Literal["text"]


class _Request(_Strict):
    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    user: str | None = None
    # accepted only with the value that changes nothing, because clients send them unasked
    n: Literal[1] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    def _sampling(self, *, max_tokens: int, top_logprobs: int | None) -> Sampling:
        return Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=() if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop),
            top_logprobs=top_logprobs,
        )


class ChatRequest(_Request):
    """``POST /v1/chat/completions``."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _agree(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.max_tokens and self.max_completion_tokens and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ")
        return self

    @property
    def wanted_tokens(self) -> int | None:
        """Most tokens of the answer; None for as many as the context allows."""
        return self.max_completion_tokens or self.max_tokens

    def sampling(self, *, max_tokens: int) -> Sampling:
        """How to sample."""
        return self._sampling(max_tokens=max_tokens, top_logprobs=(self.top_logprobs or 0) if self.logprobs else None)


class CompletionRequest(_Request):
    """``POST /v1/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def wanted_tokens(self) -> int:
        """Most tokens of the answer."""
        return self.max_tokens or DEFAULT_COMPLETION_TOKENS

    def sampling(self, *, max_tokens: int) -> Sampling:
        """How to sample."""
        return self._sampling(max_tokens=max_tokens, top_logprobs=self.logprobs)


class LoadRequest(_Strict):
    """``POST /v1/load_lora_adapter``."""

    lora_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    lora_path: str


class UnloadRequest(_Strict):
    """``POST /v1/unload_lora_adapter``."""

    lora_name: str


class ChatShape:
    """Answers of ``/v1/chat/completions``.

    Args:
        head: ``id``, ``created`` and ``model`` of every object of one answer.
    """

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head

    def whole(self, text: str, tokens: list[Token] | None, end: End) -> dict[str, Any]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": _chat_logprobs(tokens), "finish_reason": end.reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(end)}

    def first(self) -> dict[str, Any] | None:
        """The chunk before all text."""
        return self._chunk({"role": "assistant", "content": ""}, None, None)

    def piece(self, text: str, tokens: list[Token] | None) -> dict[str, Any]:
        """A chunk with text."""
        return self._chunk({"content": text}, tokens, None)

    def last(self, end: End) -> dict[str, Any]:
        """The chunk that says why the answer ends."""
        return self._chunk({}, None, end.reason)

    def usage(self, end: End) -> dict[str, Any]:
        """The chunk after the last, for ``include_usage``."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(end)}

    def _chunk(self, delta: dict[str, Any], tokens: list[Token] | None, reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": _chat_logprobs(tokens), "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class CompletionShape:
    """Answers of ``/v1/completions``; methods as in :class:`ChatShape`."""

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._offset = 0  # characters of text in earlier chunks

    def whole(self, text: str, tokens: list[Token] | None, end: End) -> dict[str, Any]:
        """The answer in one piece."""
        return {**self._chunk(text, tokens, end.reason), "usage": usage(end)}

    def first(self) -> dict[str, Any] | None:
        """Completions have no chunk before the text."""
        return None

    def piece(self, text: str, tokens: list[Token] | None) -> dict[str, Any]:
        """A chunk with text."""
        return self._chunk(text, tokens, None)

    def last(self, end: End) -> dict[str, Any]:
        """The chunk that says why the answer ends."""
        return self._chunk("", None, end.reason)

    def usage(self, end: End) -> dict[str, Any]:
        """The chunk after the last, for ``include_usage``."""
        return {**self._head, "object": "text_completion", "choices": [], "usage": usage(end)}

    def _chunk(self, text: str, tokens: list[Token] | None, reason: str | None) -> dict[str, Any]:
        logprobs = None
        if tokens is not None:
            offsets, at = [], self._offset
            for token in tokens:
                offsets.append(at)
                at += len(token.text)
            logprobs = {
                "tokens": [token.text for token in tokens],
                "token_logprobs": [token.logprob for token in tokens],
                "top_logprobs": [{other.text: other.logprob for other in token.top} for token in tokens],
                "text_offset": offsets,
            }
        self._offset += len(text)
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head, "object": "text_completion", "choices": [choice]}


def usage(end: End) -> dict[str, int]:
    """``usage`` of an answer."""
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.answer_tokens,
        "total_tokens": end.prompt_tokens + end.answer_tokens,
    }


def error_body(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error object; ``code`` is a text or null, never a number."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _chat_logprobs(tokens: Iterable[Token] | None) -> dict[str, Any] | None:
    if tokens is None:
        return None
    content = [{**_logprob(token), "top_logprobs": [_logprob(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _logprob(token: Token) -> dict[str, Any]:
    """``token_id`` is ours: texts of two tokens may be the same (halves of characters), ids never are."""
    spelled = None if "\ufffd" in token.text else list(token.text.encode())
    return {"token": token.text, "logprob": token.logprob, "bytes": spelled, "token_id": token.id}
