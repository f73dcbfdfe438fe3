"""Replies in OpenAI's exact shapes, streamed and whole, for both generating routes.

Place on the road: the gateway's voice. Pure: pieces in, JSON values out. The rules that clients break on are kept
here: one ``id``, ``created`` and ``model`` throughout; a first delta with the role; an empty delta beside the finish
reason; a usage chunk only where it was asked for, and then with ``choices: []``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuneward.workflows.answer import Begun, Piece, Usage


class Shape(Protocol):
    """One route's shapes."""

    def first(self, begun: Begun) -> list[dict[str, Any]]:
        """Chunks before any text."""

    def chunks(self, begun: Begun, piece: Piece) -> list[dict[str, Any]]:
        """Chunks for one piece."""

    def whole(self, begun: Begun, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The unstreamed response."""


class ChatShape:
    """``/v1/chat/completions``."""

    def first(self, begun: Begun) -> list[dict[str, Any]]:
        """The role, with empty content."""
        return [self._chunk(begun, {"role": "assistant", "content": ""})]

    def chunks(self, begun: Begun, piece: Piece) -> list[dict[str, Any]]:
        """Text, then the finish reason in a chunk of its own."""
        found = []
        if piece.text or piece.logprobs:
            found.append(self._chunk(begun, {"content": piece.text}, logprobs=piece.logprobs))
        if piece.finish_reason is not None:
            found.append(self._chunk(begun, {}, finish_reason=piece.finish_reason))
        return found

    def whole(self, begun: Begun, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The response object."""
        message = {"role": "assistant", "content": "".join(p.text for p in pieces), "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _joined([p.logprobs for p in pieces if p.logprobs]),
            "finish_reason": pieces[-1].finish_reason,
        }
        return _head(begun, "chatcmpl", "chat.completion") | {"choices": [choice], "usage": usage(pieces[-1].usage)}

    @staticmethod
    def _chunk(
        begun: Begun,
        delta: Mapping[str, Any],
        *,
        finish_reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return _head(begun, "chatcmpl", "chat.completion.chunk") | {"choices": [choice]}


class CompletionShape:
    """``/v1/completions``."""

    def first(self, begun: Begun) -> list[dict[str, Any]]:
        """Nothing: completions know no role."""
        return []

    def chunks(self, begun: Begun, piece: Piece) -> list[dict[str, Any]]:
        """Text and finish reason in one chunk."""
        return [self._object(begun, piece.text, piece.finish_reason, piece.logprobs)]

    def whole(self, begun: Begun, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The response object."""
        logprobs = _joined([p.logprobs for p in pieces if p.logprobs])
        found = self._object(begun, "".join(p.text for p in pieces), pieces[-1].finish_reason, logprobs)
        return found | {"usage": usage(pieces[-1].usage)}

    @staticmethod
    def _object(
        begun: Begun, text: str, finish_reason: str | None, logprobs: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return _head(begun, "cmpl", "text_completion") | {"choices": [choice]}


def usage_chunk(shape: Shape, begun: Begun, counted: Usage | None) -> dict[str, Any]:
    """The chunk after the last, for clients that asked for it."""
    prefix, kind = (
        ("chatcmpl", "chat.completion.chunk") if isinstance(shape, ChatShape) else ("cmpl", "text_completion")
    )
    return _head(begun, prefix, kind) | {"choices": [], "usage": usage(counted)}


def usage(counted: Usage | None) -> dict[str, int] | None:
    """Token counts in OpenAI's words."""
    if counted is None:
        return None
    return {
        "prompt_tokens": counted.prompt_tokens,
        "completion_tokens": counted.answer_tokens,
        "total_tokens": counted.prompt_tokens + counted.answer_tokens,
    }


def event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event. Plain ASCII, so that no reader splits it at a Unicode line separator."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _head(begun: Begun, prefix: str, kind: str) -> dict[str, Any]:
    return {"id": f"{prefix}-{begun.id}", "object": kind, "created": begun.created, "model": begun.alias}


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """``logprobs`` objects of successive chunks as one: their lists are put end to end."""
    if not parts:
        return None
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = (
                found[name] + value if isinstance(value, list) and isinstance(found.get(name), list) else value
            )
    return found
