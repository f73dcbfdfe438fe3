"""EngineClient: how everything of ours speaks to an engine, our own or vLLM.

Place on the road: ``workflows/evaluate`` and ``deploy`` use :class:`EngineClient`, the gateway
:class:`AsyncEngineClient`. Both know HTTP and nothing of aliases, policy or keys of callers. Proxies named by the
environment are ignored: an engine stands on loopback or where the user said, and nowhere else.
"""

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tuneward.domain.record import Message
from tuneward.errors import Fault, ServingError
from tuneward.progress import SILENT, Progress
from tuneward.serving.wire import Answer, EventReader, Piece, body, read_answer, read_json, read_piece, refusal, strange

_CONNECT_SECONDS = 10.0


class EngineClient(AbstractContextManager["EngineClient"]):
    """Speaks to one engine; safe to share between threads.

    Args:
        url: such as ``http://127.0.0.1:43121``.
        key: the engine's bearer key.
        concurrency: most requests under way in :meth:`answers`.
        timeout_seconds: longest silence of the engine within one request.
    """

    def __init__(self, url: str, key: str, *, concurrency: int = 64, timeout_seconds: float = 600.0) -> None:
        self._concurrency = concurrency
        self._http = httpx.Client(**_settings(url, key, timeout_seconds, concurrency))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def health(self) -> bool:
        """Whether the engine answers and says that it is well."""
        try:
            return self._http.get("/health", timeout=_CONNECT_SECONDS).is_success
        except httpx.HTTPError:
            return False

    def models(self) -> list[str]:
        """Names that the engine serves now: the bare base and every loaded adapter."""
        value = self._call("GET", "/v1/models", None)
        try:
            return [str(item["id"]) for item in value["data"]]
        except (KeyError, TypeError):
            raise strange("a model list without data") from None

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load the adapter in ``folder`` under ``name``.

        Raises:
            ServingError: ``TW-SERV-037``, with the engine's reason.
        """
        try:
            self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        except ServingError as error:
            raise _adapter_error(error, name) from None

    def unload_adapter(self, name: str) -> None:
        """Forget the adapter ``name``; answers under way keep it until they end.

        Raises:
            ServingError: ``TW-SERV-037``.
        """
        try:
            self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except ServingError as error:
            raise _adapter_error(error, name) from None

    def chat(self, model: str, messages: Sequence[Message], *, max_tokens: int | None = None, **options: Any) -> Answer:
        """One greedy answer, unless ``options`` (as OpenAI spells them) say otherwise.

        Without ``max_tokens`` the server's own limit holds.

        Raises:
            ServingError: the engine refused, broke off, or is not there.
        """
        began = time.monotonic()
        limit = {} if max_tokens is None else {"max_tokens": max_tokens}
        value = self._call(*self._post(model, messages, {"temperature": 0.0, **limit, **options}))
        return read_answer(value, seconds=time.monotonic() - began)

    def answers(
        self,
        model: str,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        progress: Progress = SILENT,
        title: str = "answers",
    ) -> list[Answer]:
        """Greedy answers to many prompts, in the order of ``prompts``, at most ``concurrency`` at a time.

        Every prompt is tried; only then are the faults of those that failed raised together, each with its item's
        0-based number. An interrupt gives up the prompts that have not begun.

        Raises:
            ServingError: one fault per failed item.
        """

        def one(prompt: Sequence[Message]) -> Answer:
            return self.chat(model, prompt, max_tokens=max_tokens)

        progress.begin(title, total=len(prompts), unit="answers")
        try:
            outcomes = _many(one, prompts, self._concurrency, progress)
        finally:
            progress.end()
        faults: list[Fault] = []
        found: list[Answer] = []
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Answer):
                found.append(outcome)
            else:
                faults += [Fault(f.code, f.message, f"item {index}", f.cure) for f in outcome.faults]
        if faults:
            raise ServingError(faults)
        return found

    def logprobs(self, model: str, messages: Sequence[Message], *, top: int = 20) -> list[tuple[str, float]]:
        """The ``top`` likeliest first tokens of the greedy answer with their natural log-probabilities.

        Tokens are named by ``id:`` where the engine tells ids (ours does: texts of broken UTF-8 look alike), else by
        their bytes in hex, else by ``text:`` and their text.

        Raises:
            ServingError: also when the engine leaves log-probabilities out.
        """
        sampling = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": top}
        value = self._call(*self._post(model, messages, sampling))
        try:
            listed = value["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            return [(_token_name(item), float(item["logprob"])) for item in listed]
        except (KeyError, IndexError, TypeError, ValueError):
            raise strange("an answer without log-probabilities") from None

    def _post(self, model: str, messages: Sequence[Message], options: Mapping[str, Any]) -> tuple[str, str, Any]:
        return ("POST", *body(model, messages, options, stream=False))

    def _call(self, method: str, route: str, value: Any) -> Any:
        try:
            response = self._http.request(method, route, json=value)
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        found = read_json(response.content)
        if not response.is_success:
            raise refusal(response.status_code, found)
        return found


class AsyncEngineClient:
    """The gateway's side: streams only, since a stream can be cancelled and an unstreamed answer made of it.

    Args:
        url: the engine's address.
        key: its bearer key.
        timeout_seconds: longest silence of the engine within one request.
    """

    def __init__(self, url: str, key: str, *, timeout_seconds: float = 600.0) -> None:
        self._http = httpx.AsyncClient(**_settings(url, key, timeout_seconds, None))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def stream(
        self, model: str, prompt: str | Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of one answer. Closing the generator closes the connection, which cancels the engine's work.

        Raises:
            ServingError: the engine refused, broke off, or is not there.
        """
        route, request = body(model, prompt, options, stream=True)
        reader = EventReader()
        try:
            async with self._http.stream("POST", route, json=request) as response:
                if not response.is_success:
                    raise refusal(response.status_code, read_json(await response.aread()))
                async for data in response.aiter_bytes():
                    for event in reader.feed(data):
                        if event == "[DONE]":
                            return
                        yield read_piece(_event_json(event))
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        raise strange("a stream without an end")


def unreachable(error: httpx.HTTPError) -> ServingError:
    """The connection failed; the exception's class says how (its text may hold addresses only)."""
    what = f"the engine did not answer ({type(error).__name__})"
    return ServingError(Fault("TW-SERV-034", what, cure="read the engine's log; start it again"))


def _settings(url: str, key: str, timeout_seconds: float, connections: int | None) -> dict[str, Any]:
    return {
        "base_url": url,
        "headers": {"authorization": f"Bearer {key}"},
        "trust_env": False,
        "follow_redirects": False,
        "timeout": httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
        "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    }


def _event_json(event: str) -> Any:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        raise strange("a chunk that is no JSON") from None


def _token_name(item: Mapping[str, Any]) -> str:
    if isinstance(item.get("token_id"), int):
        return f"id:{item['token_id']}"
    listed = item.get("bytes")
    return bytes(listed).hex() if listed else f"text:{item['token']}"


def _adapter_error(error: ServingError, name: str) -> ServingError:
    cure = "`tuneward verify` checks the adapter; its rank must not pass the engine's limit"
    return ServingError([Fault("TW-SERV-037", fault.message, name, cure) for fault in error.faults])


def _many(
    one: Callable[[Sequence[Message]], Answer],
    prompts: Sequence[Sequence[Message]],
    concurrency: int,
    progress: Progress,
) -> list[Answer | ServingError]:
    outcomes: dict[int, Answer | ServingError] = {}
    with ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(prompts)))) as pool:
        waiting: dict[Future[Answer], int] = {pool.submit(one, prompt): i for i, prompt in enumerate(prompts)}
        tokens, began = 0, time.monotonic()
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if error is None:
                    outcomes[waiting[future]] = future.result()
                    tokens += future.result().answer_tokens
                elif isinstance(error, ServingError):
                    outcomes[waiting[future]] = error
                else:
                    raise error
                progress.advance(1, tokens_per_second=round(tokens / max(time.monotonic() - began, 1e-9), 1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[i] for i in range(len(prompts))]
