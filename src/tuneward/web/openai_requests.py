"""Requests as OpenAI's clients send them, read strictly into an Ask.

Place on the road: the gateway's mouth. Every field that OpenAI documents is listed: those that work, those that are
accepted because they change nothing, and those that are refused by name. Nothing is ignored that would change the
answer; an unknown field is refused too.
"""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuneward.domain.record import Message, Role
from tuneward.errors import Fault, ServingError
from tuneward.workflows.answer import Ask


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _TextPart(_Strict):
    type: Literal["text"]
    text: str


class _Turn(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[_TextPart], Field(min_length=1)]
    name: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    def to_message(self) -> Message:
        """Parts joined; ``developer`` is OpenAI's newer word for ``system``."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, text)


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


_Stop = Annotated[str, Field(min_length=1)]


class _Request(_Strict):
    """What both routes share."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> "_Request":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only together with stream: true")
        return self

    def shared_options(self) -> dict[str, Any]:
        """Sampling options that the client named."""
        options: dict[str, Any] = {
            name: value
            for name in ("temperature", "top_p", "seed", "max_tokens")
            if (value := getattr(self, name)) is not None
        }
        if self.stop:
            options["stop"] = [self.stop] if isinstance(self.stop, str) else list(self.stop)
        return options

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(_Request):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[_Turn], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: only together with logprobs: true")
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise ValueError("max_completion_tokens: contradicts max_tokens")
        return self

    def to_ask(self) -> Ask:
        """The request without OpenAI's spelling."""
        options = self.shared_options()
        if self.max_completion_tokens is not None:
            options["max_tokens"] = self.max_completion_tokens
        if self.logprobs:
            options |= {"logprobs": True, "top_logprobs": self.top_logprobs or 0}
        messages = tuple(turn.to_message() for turn in self.messages)
        return Ask(self.model, messages, options, bool(self.stream))


class CompletionRequest(_Request):
    """Body of ``POST /v1/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    def to_ask(self) -> Ask:
        """The request without OpenAI's spelling."""
        options = self.shared_options()
        if self.logprobs is not None:
            options["logprobs"] = self.logprobs
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return Ask(self.model, prompt, options, bool(self.stream))


R = TypeVar("R", bound=_Request)


def _empty(value: Any) -> bool:
    return value is None or value == [] or value == {}


def _is(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value is None or any(value == v and type(value) is type(v) for v in values)


#: Field → which values change nothing and are accepted; every other value is refused by the field's name.
_UNSUPPORTED: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("tools", "functions", "logit_bias", "audio", "prediction", "metadata", "suffix"), _empty),
    **dict.fromkeys(("web_search_options", "reasoning_effort", "verbosity", "moderation"), _empty),
    **dict.fromkeys(("tool_choice", "function_call"), _is("none", "auto")),
    "response_format": _is({"type": "text"}),
    "modalities": _is(["text"]),
    "presence_penalty": _is(0, 0.0),
    "frequency_penalty": _is(0, 0.0),
    "parallel_tool_calls": _is(True, False),
    "store": _is(False),
    "service_tier": _is("auto", "default"),
    "echo": _is(False),
    "best_of": _is(1),
    "n": _is(1),
}
#: Names for the caller's own bookkeeping: taken, not used, not logged.
_IGNORED = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")


def read_request(body: bytes, model: type[R]) -> R:
    """Parse a body strictly.

    Raises:
        ServingError: all faults at once; none quotes a value that the client sent.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8 form
    except (ValueError, RecursionError):
        raise ServingError(
            Fault("TW-SERV-043", "the body is not valid JSON in UTF-8", cure="send one JSON object")
        ) from None
    if not isinstance(value, dict):
        raise ServingError(Fault("TW-SERV-043", "the body is not a JSON object", cure="send one JSON object"))
    faults = [
        Fault("TW-SERV-045", "is not supported", name, "leave it out")
        for name, harmless in _UNSUPPORTED.items()
        if name in value and not harmless(value[name])
    ]
    taken = {k: v for k, v in value.items() if k not in _UNSUPPORTED and k not in _IGNORED}
    try:
        request = model.model_validate(taken)
    except ValidationError as error:
        faults += [_fault(item) for item in _sharpest(error)]
    if faults:
        raise ServingError(faults)
    return request


def _sharpest(error: ValidationError) -> list[Mapping[str, Any]]:
    """One entry per place: a union reports every branch that did not fit."""
    by_place: dict[str, Mapping[str, Any]] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        by_place.setdefault(_place(item["loc"]), item)
    return list(by_place.values())


def _place(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part not in {"str", "list", "constrained"}:
            text += f".{part}" if text else part
        elif "[" in part or part in {"str", "list"}:
            break  # the name of a union's branch is no field
        else:
            text += f".{part[:64]}"
    return text


def _fault(item: Mapping[str, Any]) -> Fault:
    place = _place(item["loc"])
    if item["type"] == "extra_forbidden":
        return Fault("TW-SERV-045", "is not known here", place, "leave it out")
    message = item["msg"].removeprefix("Value error, ")
    if not place and ": " in message:
        place, message = message.split(": ", 1)
    return Fault("TW-SERV-044", message[0].lower() + message[1:], place, "see docs/gateway.md for the request's fields")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
