"""Step 7, third part: talk to a served model through a gateway, as any client does."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tuneward.domain.record import Message
from tuneward.errors import Fault, ServingError
from tuneward.governance import api_keys
from tuneward.inspection.inspector import make_inspector
from tuneward.progress import SILENT, Progress
from tuneward.serving.client import EngineClient
from tuneward.serving.guard import make_guard
from tuneward.workflows.consent import heed_deployed
from tuneward.workflows.gateway import Gateway, gateway, running_url, url_of
from tuneward.workflows.verify import check_deployment
from tuneward.workflows.workspace import Workspace

KEY_VARIABLE = "TUNEWARD_API_KEY"
_KEY_CURE = "`tuneward key create NAME` makes one"


@dataclass(frozen=True)
class ChatResult:
    """One answer.

    Attributes:
        model: the alias that was asked.
        answer: its text.
        id: id of the answer; `tuneward verify ID` walks its chain.
        prompt_tokens: tokens of the rendered prompt.
        answer_tokens: tokens of the answer.
        finish_reason: ``stop`` or ``length``.
        next: the command that comes next.
    """

    model: str
    answer: str
    id: str
    prompt_tokens: int
    answer_tokens: int
    finish_reason: str
    next: str


class Conversation:
    """An open line to one model; every question goes through the gateway and leaves its audit events."""

    def __init__(self, client: EngineClient, model: str) -> None:
        self._client = client
        self.model = model

    def ask(self, messages: Sequence[Message]) -> ChatResult:
        """Send messages, return the answer.

        Raises:
            ServingError: the gateway refuses or cannot answer.
        """
        answer = self._client.chat(self.model, messages)
        return ChatResult(
            model=self.model,
            answer=answer.text,
            id=answer.id,
            prompt_tokens=answer.prompt_tokens,
            answer_tokens=answer.answer_tokens,
            finish_reason=answer.finish_reason,
            next=f"tuneward verify {answer.id}",
        )


@contextmanager
def conversation(
    workspace: Workspace, *, url: str | None = None, progress: Progress = SILENT
) -> Iterator[Conversation]:
    """Open a line to the project's model.

    A gateway that runs already is used when ``TUNEWARD_API_KEY`` holds a key to it. Else one is started for as long as
    the line is open (:func:`passing_gateway`).

    Args:
        workspace: the project whose model is asked.
        url: where the gateway is; when None, where the site's running gateway listens, else where the project's
            ``serving`` section says.
        progress: told about the start of a gateway.

    Raises:
        ServingError: nothing is deployed, or the gateway cannot start or does not answer.
    """
    serving = workspace.project.serving
    alias = serving.alias or workspace.project.project
    if key := os.environ.get(KEY_VARIABLE):
        url = _address(url) if url else running_url(workspace.site) or url_of(serving.host, serving.port)
        if not key.isascii() or not key.isprintable():
            raise ServingError(Fault("TW-SERV-041", "holds what no key holds", KEY_VARIABLE, _KEY_CURE))
        with EngineClient(url, key) as client:
            if not client.health():
                cure = f"start `tuneward serve`, name the gateway with `--url`, or unset {KEY_VARIABLE}"
                raise ServingError(Fault("TW-SERV-062", "no gateway answers", url, cure))
            yield Conversation(client, alias)
        return
    if url:
        cure = f"put a key of that gateway into {KEY_VARIABLE}; {_KEY_CURE}"
        raise ServingError(Fault("TW-SERV-041", "a gateway is named, but no key to it", KEY_VARIABLE, cure))
    if workspace.site.held("serve"):
        cure = f"put a key into {KEY_VARIABLE} to talk to it; {_KEY_CURE}"
        raise ServingError(Fault("TW-SERV-041", "a gateway serves this site already", KEY_VARIABLE, cure))
    with (
        passing_gateway(workspace, purpose="tuneward chat", progress=progress) as (running, text),
        EngineClient(running.url, text) as client,
    ):
        yield Conversation(client, alias)


@contextmanager
def passing_gateway(
    workspace: Workspace, *, purpose: str, progress: Progress = SILENT
) -> Iterator[tuple[Gateway, str]]:
    """A gateway on a free port for as long as the block runs, with a key that is revoked at the end.

    Yields:
        The gateway, and the key's text.

    Raises:
        ServingError: nothing is deployed, or the gateway cannot start.
        ProofError: an active deployment does not check out.
    """
    office = workspace.office
    heed_deployed(office, progress.say)
    progress.say("starting engine and gateway")
    with office.site.lock("serve"):
        api_keys.revoke_passing(office)
        text, kept = api_keys.create(office, name=purpose, member=office.actor, passing=True)
        config = workspace.project.serving.model_copy(update={"port": 0})
        guard = make_guard(config.guard, lambda: make_inspector(workspace.project.inspection, folder=workspace.folder))
        try:
            with gateway(
                office, config, check=lambda _s, _k, served: check_deployment(office, served), guard=guard
            ) as running:
                yield running, text
        finally:
            api_keys.revoke(office, kept.id)


def _address(url: str) -> str:
    """An address as ``serve`` prints it, without OpenAI's ``/v1``.

    Raises:
        ServingError: it is none.
    """
    plain = url.rstrip("/").removesuffix("/v1")
    try:
        form = re.fullmatch(r"https?://[^/\s?#@]+", plain) and urlsplit(plain).port != 0
    except ValueError:  # brackets that are no IPv6 address, a port that is none
        form = False
    if not form:
        raise ServingError(Fault("TW-SERV-062", "is no gateway's address", url, "such as http://127.0.0.1:8321"))
    return plain
