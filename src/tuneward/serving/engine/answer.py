"""Answer: the text of one row as it grows, with stop texts withheld until it is certain that they are none.

Place on the road: between the scheduler's tokens and the HTTP face. What it once released never changes, and the pieces
joined are the answer, however the tokens fall. Knows no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Streamer(Protocol):
    """Ids to text, one by one; see :class:`tuneward.modeling.chat.Streamer`."""

    def push(self, token: int) -> str:
        """Text that has become certain."""
        ...

    def finish(self) -> str:
        """What was held back."""
        ...


@dataclass(frozen=True)
class Token:
    """A token with its log-probabilities, for whoever asked for them.

    Attributes:
        id: token id.
        text: what it decodes to alone.
        logprob: natural logarithm.
        top: the likeliest tokens, likeliest first.
    """

    id: int
    text: str
    logprob: float
    top: tuple["Token", ...] = ()


@dataclass(frozen=True)
class Piece:
    """What may be sent now."""

    text: str
    tokens: tuple[Token, ...] = ()


class AnswerText:
    """Collects one answer.

    Args:
        streamer: decodes ids.
        stop: texts before which the answer ends.
        tell: called with every piece that has text or tokens, in order.
    """

    def __init__(self, streamer: Streamer, stop: tuple[str, ...], tell: Callable[[Piece], None]) -> None:
        self._streamer, self._stop, self._tell = streamer, stop, tell
        self._held = ""
        self._tokens: list[tuple[int, Token]] = []  # characters held before the token's text, and the token

    def push(self, token_id: int, token: Token | None) -> bool:
        """Take the next token; True if the answer has come to a stop text."""
        if token is not None:
            self._tokens.append((len(self._held), token))
        self._held += self._streamer.push(token_id)
        return self._release(final=False)

    def finish(self, token: Token | None = None) -> bool:
        """No text follows: release what is left; True if that holds a stop text.

        Args:
            token: the control token that ended the answer, if one did.
        """
        if token is not None:
            self._tokens.append((len(self._held), token))
        self._held += self._streamer.finish()
        return self._release(final=True)

    def _release(self, *, final: bool) -> bool:
        found = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            _, end = min(found)  # the one complete first, so that it does not matter how tokens cut the text
            self._send(self._held[:end], [token for at, token in self._tokens if at < end])
            self._held, self._tokens = "", []
            return True
        end = len(self._held) if final else len(self._held) - self._possible()
        ready = [token for at, token in self._tokens if at < end or end == len(self._held)]
        self._tokens = [(at - end, token) for at, token in self._tokens[len(ready) :]]
        text, self._held = self._held[:end], self._held[end:]
        self._send(text, ready)
        return False

    def _possible(self) -> int:
        """Length of the longest end of the held text with which a stop text could begin."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0

    def _send(self, text: str, tokens: list[Token]) -> None:
        if text or tokens:
            self._tell(Piece(text, tuple(tokens)))
