"""Scheduler: one thread owns the model; requests come over a queue and their answers go out over callbacks.

Place on the road: between the HTTP face and the decoder. First come, first served. Between two steps it takes new
requests in, lets cancelled ones go and changes adapters, so no call ever meets a half-made change. When the cache
would outgrow its budget the youngest row steps back: its tokens are kept and computed again later. Knows no HTTP and no
files.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from tuneward.errors import Fault, ServingError, TunewardError
from tuneward.modeling.adapter_bank import AdapterBank, LoadedAdapter
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.chat import Chat
from tuneward.modeling.generate import Decoder, Row
from tuneward.serving.engine.answer import AnswerText, Piece, Token
from tuneward.serving.engine.sampler import Choice, Sampler, Sampling, choose

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class End:
    """An answer is complete.

    Attributes:
        reason: ``stop`` (end of turn or a stop text) or ``length``.
        prompt_tokens: tokens of the prompt.
        answer_tokens: tokens sampled, the one that ended the answer included.
    """

    reason: FinishReason
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Failure:
    """An answer cannot be given, or not to its end."""

    error: TunewardError


Event = Piece | End | Failure


@dataclass(eq=False)
class Job:
    """One request.

    Attributes:
        prompt: token ids, at least one.
        model: name of an adapter, or None for the base.
        sampling: how to sample.
        tell: called from the scheduler's thread with each event; must return at once.
    """

    prompt: list[int]
    model: str | None
    sampling: Sampling
    tell: Callable[[Event], None] = field(repr=False)


@dataclass(eq=False)
class _Held:
    adapter: LoadedAdapter
    users: int = 0
    leaving: Future[None] | None = None


@dataclass(eq=False)
class _Work:
    job: Job
    held: _Held | None
    sampler: Sampler
    text: AnswerText
    ids: list[int]
    row: Row | None = None


class Scheduler:
    """Answers requests until the process ends.

    Args:
        decoder: rows on the model; used by the scheduler's thread only.
        bank: the adapters of the same model.
        chat: decodes ids and knows where answers end.
        context_tokens: most tokens of prompt and answer together.
        max_rows: rows at once.
        cache_bytes: most memory for keys and values, roughly.
    """

    def __init__(
        self,
        decoder: Decoder,
        bank: AdapterBank,
        chat: Chat,
        *,
        context_tokens: int,
        max_rows: int = 64,
        cache_bytes: int = 3 << 29,
    ) -> None:
        self._decoder, self._bank, self._chat = decoder, bank, chat
        self._max_rows, self._cache_bytes = max_rows, cache_bytes
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: deque[_Work] = deque()
        self._running: dict[Row, _Work] = {}
        self._held: dict[str, _Held] = {}
        self._stopping = False
        self._row_bytes = decoder.bytes_for
        self.context_tokens = min(context_tokens, decoder.tokens_in(cache_bytes))
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way; answers under way are not finished."""
        self._inbox.put(self._stop)
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Take a request in; everything about it is told over ``job.tell``."""
        self._inbox.put(lambda: self._accept(job))

    def cancel(self, job: Job) -> None:
        """Let a request go, wherever it is; harmless when it has ended."""
        self._inbox.put(lambda: self._drop(job))

    def load(self, name: str, weights: AdapterWeights) -> Future[None]:
        """Add an adapter under ``name``.

        The future fails with ModelError (it does not fit), ServingError (the name is taken) or what torch raises.
        """
        return self._ask(lambda done: self._load(name, weights, done))

    def unload(self, name: str) -> Future[None]:
        """Refuse new requests for ``name`` at once, and free it when those under way have ended."""
        return self._ask(lambda done: self._unload(name, done))

    @property
    def adapters(self) -> list[str]:
        """Names that can be asked for."""
        return [name for name, held in list(self._held.items()) if held.leaving is None]

    @property
    def figures(self) -> dict[str, int]:
        """Rows running and waiting, and memory of the cache in bytes."""
        return {
            "running": len(self._running),
            "waiting": len(self._waiting),
            "cache_bytes": self._decoder.cache_bytes,
        }

    def _ask(self, work: Callable[[Future[None]], None]) -> Future[None]:
        done: Future[None] = Future()

        def guarded() -> None:
            if not done.set_running_or_notify_cancel():  # from here on the asker cannot take it back
                return
            try:
                work(done)
            except Exception as error:  # no room for the adapter, say: the asker's fault, not the end of this thread
                done.set_exception(error)

        self._inbox.put(guarded)
        return done

    def _run(self) -> None:
        while not self._stopping:
            self._take_in()
            self._admit()
            if self._running and not self._stopping:
                self._step()

    def _take_in(self) -> None:
        block = not self._running and not self._waiting
        try:
            while True:
                self._inbox.get(block=block)()
                block = False
        except queue.Empty:
            pass

    def _stop(self) -> None:
        self._stopping = True

    def _accept(self, job: Job) -> None:
        held = None
        if job.model is not None:
            held = self._held.get(job.model)
            if held is None or held.leaving is not None:
                job.tell(Failure(unknown_model(job.model)))
                return
            held.users += 1
        text = AnswerText(self._chat.streamer(), job.sampling.stop, job.tell)
        self._waiting.append(_Work(job, held, Sampler(job.sampling), text, list(job.prompt)))

    def _admit(self) -> None:
        used = sum(self._row_bytes(len(row.ids) + 1) for row in self._running)
        while len(self._running) > 1 and used > self._cache_bytes:
            row, work = self._running.popitem()
            used -= self._row_bytes(len(row.ids) + 1)
            self._decoder.leave(row)
            work.row = None
            self._waiting.appendleft(work)
        while self._waiting and len(self._running) < self._max_rows:
            work = self._waiting[0]
            used += self._row_bytes(len(work.ids) + 1)
            if self._running and used > self._cache_bytes:
                break
            self._waiting.popleft()
            work.row = self._decoder.join(work.ids, adapter=work.held.adapter if work.held else None)
            work.ids = work.row.ids
            self._running[work.row] = work

    def _step(self) -> None:
        try:
            rows, logits = self._decoder.step()
            works = [self._running[row] for row in rows]
            choices = choose(logits, [work.sampler for work in works]) if works else []
        except Exception as error:  # whatever torch raises, no request may wait for ever
            reason = f"{type(error).__name__} in the model"
            fault = Fault("TW-SERV-010", reason, "", "see the engine's log; try fewer rows or shorter prompts")
            for work in list(self._running.values()):
                self._end(work, Failure(ServingError(fault)))
            return
        for work, choice in zip(works, choices, strict=True):
            if choice is None:
                fault = Fault("TW-SERV-010", "the model gave no numbers", "", "the base or the adapter is broken")
                self._end(work, Failure(ServingError(fault)))
                continue
            try:
                self._advance(work, choice)
            except Exception as error:  # one row's text must not end the others
                fault = Fault("TW-SERV-010", f"{type(error).__name__} in the answer's text", "", "report this")
                self._end(work, Failure(ServingError(fault)))

    def _advance(self, work: _Work, choice: Choice) -> None:
        work.ids.append(choice.token)
        answer_tokens = len(work.ids) - len(work.job.prompt)
        reason: FinishReason | None = None
        if choice.token in self._chat.stop_ids:
            work.text.finish(self._token(choice))
            reason = "stop"
        elif work.text.push(choice.token, self._token(choice)):
            reason = "stop"
        elif answer_tokens >= work.job.sampling.max_tokens:
            reason = "stop" if work.text.finish() else "length"
        if reason is not None:
            self._end(work, End(reason, len(work.job.prompt), answer_tokens))

    def _token(self, choice: Choice) -> Token | None:
        if choice.logprob is None:
            return None
        top = tuple(Token(i, self._chat.decode([i], control=True), value) for i, value in choice.top)
        return Token(choice.token, self._chat.decode([choice.token], control=True), choice.logprob, top)

    def _end(self, work: _Work, event: End | Failure) -> None:
        self._remove(work)
        work.job.tell(event)

    def _drop(self, job: Job) -> None:
        for work in [*self._running.values(), *self._waiting]:
            if work.job is job:
                self._remove(work)
                return

    def _remove(self, work: _Work) -> None:
        if work.row is None:
            self._waiting.remove(work)
        else:
            del self._running[work.row]
            self._decoder.leave(work.row)
        if work.held is not None:
            work.held.users -= 1
            self._free_if_unused(work.held)

    def _load(self, name: str, weights: AdapterWeights, done: Future[None]) -> None:
        if name in self._held:
            fault = Fault(
                "TW-SERV-009", f"an adapter named {name} is loaded", "lora_name", "unload it, or name another"
            )
            raise ServingError(fault)
        self._held[name] = _Held(self._bank.load(weights))
        done.set_result(None)

    def _unload(self, name: str, done: Future[None]) -> None:
        held = self._held.get(name)
        if held is None or held.leaving is not None:
            raise unknown_model(name)
        held.leaving = done
        self._free_if_unused(held)

    def _free_if_unused(self, held: _Held) -> None:
        if held.leaving is None or held.users:
            return
        self._held = {name: other for name, other in self._held.items() if other is not held}
        self._bank.unload(held.adapter)
        held.leaving.set_result(None)


def unknown_model(name: str) -> ServingError:
    """The error for a name that is neither the base's nor a loaded adapter's."""
    return ServingError(Fault("TW-SERV-005", f"the model {name!r} does not exist", "model", "see GET /v1/models"))
