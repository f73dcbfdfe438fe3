"""answer: one request of a client, from its key to the last word, with an audit event before and after.

Place on the road: behind every route of the gateway that generates. The order is the promise: key → deployment →
``answer.start`` is on disk → the engine writes → ``answer.finish`` is on disk → the last piece leaves. When the log
cannot be written there is no answer. Events hold ids, counts and keyed digests; no prompt, no answer, no key is
written anywhere. This file knows neither HTTP nor how the engine computes.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from anyio import CancelScope, fail_after, to_thread

from tuneward.digests import canonical_json, keyed_digest
from tuneward.domain.audit import AuditEvent
from tuneward.domain.record import Message
from tuneward.domain.version import ApiKey, Deployment
from tuneward.errors import Fault, GovernanceError, ServingError, TunewardError
from tuneward.governance import api_keys, audit
from tuneward.governance.change import change
from tuneward.governance.office import Office
from tuneward.governance.policies import label
from tuneward.serving.config import ServingConfig
from tuneward.serving.guard import Guard, Seen
from tuneward.serving.router import Route, Router
from tuneward.serving.wire import Piece as Piece
from tuneward.serving.wire import Usage as Usage

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """What a client wants.

    Attributes:
        alias: the model name that it used.
        prompt: the conversation, or a plain string that is continued as it stands.
        options: sampling as OpenAI spells it (``max_tokens, temperature, top_p, seed, stop, logprobs, top_logprobs``).
        stream: whether it wants pieces; only noted, the work is the same.
    """

    alias: str
    prompt: str | tuple[Message, ...]
    options: Mapping[str, Any]
    stream: bool = False


@dataclass(frozen=True)
class Begun:
    """The first thing that :meth:`Desk.answer` yields: the engine has accepted the request.

    Attributes:
        id: of the ``answer.start`` event; by it ``tuneward verify`` finds the answer.
        created: Unix time in seconds.
        alias: the model name that the client used.
        version: id of the model version that answers.
        adapter: digest of its adapter.
    """

    id: str
    created: int
    alias: str
    version: str
    adapter: str


@dataclass
class _Outcome:
    text: list[str] = field(default_factory=list)
    reason: str = "cancelled"
    usage: Usage | None = None
    codes: tuple[str, ...] = ()
    seen: Seen | None = None


class Desk:
    """Answers requests at one gateway.

    Args:
        office: site, keys and policy under which answers are given.
        router: where the aliases lead.
        config: limits and defaults.
        guard: looks at prompts and answers; None where nothing is looked at.
    """

    def __init__(self, office: Office, *, router: Router, config: ServingConfig, guard: Guard | None = None) -> None:
        self.office = office
        self.config = config
        self._router = router
        self._guard = guard
        self._secret = office.keys.secret("answers")

    async def caller(self, key_text: str) -> ApiKey:
        """The key's register entry.

        Raises:
            ServingError: ``TW-SERV-041``; it does not tell a wrong key from a revoked one.
        """
        office = self.office
        found = (
            await to_thread.run_sync(lambda: api_keys.find(office.site, office.keys, key_text)) if key_text else None
        )
        if found is None or found.revoked_at is not None:
            raise ServingError(
                Fault(
                    "TW-SERV-041",
                    "the API key is missing or not valid",
                    "Authorization",
                    "send `Authorization: Bearer KEY` with a key of this site",
                )
            )
        return found

    async def models(self) -> list[Deployment]:
        """The active deployments, whose aliases are the models that clients may name."""
        return await to_thread.run_sync(self._router.active)

    async def answer(self, caller: ApiKey, ask: Ask) -> AsyncGenerator[Begun | Piece, None]:
        """One :class:`Begun`, then the answer's pieces; the last has the finish reason and usually the usage.

        Closing the generator early, or cancelling its task, cancels the engine's work and is logged as ``cancelled``.
        Where answers are guarded, nothing leaves before the whole answer was looked at.

        Raises:
            ServingError: unknown model, an option over the limit, the guard blocks the prompt, the engine refused or
                broke off, it took too long, or the audit log could not be written.
        """
        options = self._options(ask.options)
        outcome, began = _Outcome(), time.monotonic()
        held_back: list[Piece] | None = [] if self._guard and self._guard.looks_at_answers else None
        with ExitStack() as held:
            route = await to_thread.run_sync(held.enter_context, self._router.lease(ask.alias))
            ask, seen = await self._guarded(ask)
            ask = _with_system(ask, route.deployment)
            start = await self._log(lambda: self._start(caller, ask, route, options, seen))
            try:
                last = Piece()
                async with aclosing(_stream(route, ask, options)) as upstream:
                    begun = False
                    while (piece := await self._next(upstream, began)) is not None:
                        if not begun:
                            begun = True
                            yield Begun(start.id, int(time.time()), ask.alias, route.version.id, route.version.adapter)
                        outcome.text.append(piece.text)
                        outcome.usage = piece.usage or outcome.usage
                        if piece.finish_reason is not None:
                            last = piece
                        elif held_back is not None:
                            held_back.append(piece)
                        elif piece.text or piece.logprobs:
                            yield piece
                if last.finish_reason is None:
                    raise ServingError(Fault("TW-SERV-034", "the engine's answer has no end", cure="ask again"))
                if held_back is not None:
                    held_back, last = await self._looked_at(outcome, held_back, last)
                outcome.reason = last.finish_reason or "stop"
            except TunewardError as error:
                outcome.codes = tuple(fault.code for fault in error.faults)
                outcome.reason = "timeout" if outcome.codes == ("TW-SERV-049",) else "error"
                raise
            except Exception:  # a defect of ours is no client that left
                outcome.codes, outcome.reason = ("TW-ENV-002",), "error"
                raise
            finally:
                if held_back is not None and outcome.seen is None:
                    outcome.text = []  # nothing left
                await self._log(lambda: self._finish(caller, start, outcome, time.monotonic() - began))
            for piece in held_back or ():
                yield piece
            yield Piece(last.text, last.finish_reason, last.logprobs, outcome.usage)

    async def _guarded(self, ask: Ask) -> tuple[Ask, Seen | None]:
        """What the client asks, as the engine may read it; the deployment's own words are not looked at."""
        guard = self._guard
        if guard is None or not guard.looks_at_prompts:
            return ask, None
        prompt, seen = await to_thread.run_sync(guard.prompt, ask.prompt)
        return replace(ask, prompt=prompt), seen

    async def _looked_at(self, outcome: _Outcome, held_back: list[Piece], last: Piece) -> tuple[list[Piece], Piece]:
        """The pieces that may leave, and the last one; where text was changed, log-probabilities would tell it."""
        assert self._guard is not None
        whole = "".join(outcome.text)
        text, seen = await to_thread.run_sync(self._guard.answer, whole)
        outcome.seen = seen
        if seen.blocked:
            outcome.text = []
            return [], Piece("", "content_filter")
        if text != whole:
            outcome.text = [text]
            return [], Piece(text, last.finish_reason)
        return held_back, last

    async def _next(self, upstream: AsyncGenerator[Piece, None], began: float) -> Piece | None:
        limit = self.config.request_timeout_seconds
        try:
            with fail_after(began + limit - time.monotonic()):
                return await anext(upstream, None)
        except TimeoutError:
            raise ServingError(
                Fault("TW-SERV-049", f"no whole answer within {limit:g} seconds", cure="ask for fewer tokens, or later")
            ) from None

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        most = self.config.max_tokens
        options = {"max_tokens": most, "temperature": self.config.temperature, **given}
        if options["max_tokens"] > most:
            raise ServingError(
                Fault("TW-SERV-044", f"{options['max_tokens']} is over this gateway's limit", "max_tokens", f"≤ {most}")
            )
        return options

    async def _log(self, write: Callable[[], T]) -> T:
        """Write an event to its end, even when the client leaves meanwhile."""
        with CancelScope(shield=True):
            try:
                written = await to_thread.run_sync(write)
            except (GovernanceError, ServingError):
                raise
            except Exception as error:
                what = f"the audit log could not be written ({type(error).__name__})"
                fault = Fault("TW-SERV-048", what, cure="the operator looks at disk and database: `tuneward doctor`")
                raise ServingError(fault) from error
        return written

    def _start(
        self, caller: ApiKey, ask: Ask, route: Route, options: Mapping[str, Any], seen: Seen | None
    ) -> AuditEvent:
        chat = not isinstance(ask.prompt, str)
        detail = {
            "prompt": keyed_digest(self._secret, prompt_bytes(ask.prompt)),
            "messages": len(ask.prompt) if chat else 1,
            "route": "chat" if chat else "completions",
            "stream": ask.stream,
            "deployment": route.deployment.id,
            "version": route.version.id,
            "adapter": route.version.adapter,
            "base": route.version.base,
            "key": caller.id,
            "options": {name: options[name] for name in _LOGGED_OPTIONS if name in options},
        }
        if seen is not None:
            detail["guard"] = seen.counts
        office = replace(self.office, actor=_actor(caller))
        with change(office, "answer.start", route.deployment.id) as begun:
            if seen is not None and seen.blocked:
                begun.note_refusal(guard=seen.counts)
                what = f"the prompt holds what is not taken here: {', '.join(seen.blocked)}"
                place = "messages" if chat else "prompt"
                raise ServingError(Fault("TW-SERV-056", what, place, "take it out and ask again"))
            begun.note(**detail)
        return begun.event

    def _finish(self, caller: ApiKey, start: AuditEvent, outcome: _Outcome, seconds: float) -> AuditEvent:
        detail: dict[str, Any] = {
            "answer": keyed_digest(self._secret, "".join(outcome.text).encode()),
            "finish_reason": outcome.reason,
            "prompt_tokens": outcome.usage.prompt_tokens if outcome.usage else None,
            "answer_tokens": outcome.usage.answer_tokens if outcome.usage else None,
            "seconds": round(seconds, 3),
        }
        if outcome.seen is not None:
            detail["guard"] = outcome.seen.counts
        if outcome.codes:
            detail["faults"] = list(outcome.codes)
        # not a `change`: what was begun is written to its end even when the key was revoked meanwhile
        with self.office.site.database.write() as connection:
            return audit.append(
                connection,
                actor=_actor(caller),
                action="answer.finish",
                subject=start.id,
                decision="refused" if outcome.codes else "done",
                policy=label(self.office.policy),
                detail=detail,
            )


#: Options that say nothing about the content; stop strings may, so they stay out of the log.
_LOGGED_OPTIONS = ("max_tokens", "temperature", "top_p", "seed")


def prompt_bytes(prompt: str | tuple[Message, ...]) -> bytes:
    """The bytes whose keyed digest stands in ``answer.start``: canonical JSON of what the engine received.

    Whoever holds a conversation and the site's secret can so show that it is the one that was logged.
    """
    return canonical_json(
        prompt if isinstance(prompt, str) else [{"role": m.role, "content": m.content} for m in prompt]
    )


async def _stream(route: Route, ask: Ask, options: Mapping[str, Any]) -> AsyncGenerator[Piece, None]:
    """The engine's pieces. The gateway's own limit, where the client named none, gives way to the model's context."""
    begun = False
    try:
        async with aclosing(route.engine.answer.stream(route.model, ask.prompt, options)) as pieces:
            async for piece in pieces:
                begun = True
                yield piece
        return
    except ServingError as error:
        if begun or "max_tokens" in ask.options or error.faults[0].code != "TW-SERV-036":
            raise
    rest = {name: value for name, value in options.items() if name != "max_tokens"}
    async with aclosing(route.engine.answer.stream(route.model, ask.prompt, rest)) as pieces:
        async for piece in pieces:
            yield piece


def _actor(caller: ApiKey) -> str:
    return f"key:{caller.id}"


def _with_system(ask: Ask, deployment: Deployment) -> Ask:
    """Put the deployment's system message first where the client sends none."""
    if isinstance(ask.prompt, str) or not deployment.system or any(m.role == "system" for m in ask.prompt):
        return ask
    prompt = (Message("system", deployment.system), *ask.prompt)
    return Ask(ask.alias, prompt, ask.options, ask.stream)
