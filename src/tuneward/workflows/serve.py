"""Step 7, second part: serve every active deployment of the site until told to stop."""

from collections.abc import Callable
from dataclasses import dataclass

from tuneward.governance import api_keys
from tuneward.inspection.inspector import make_inspector
from tuneward.progress import SILENT, Progress
from tuneward.serving.guard import make_guard
from tuneward.workflows.access import create_key, list_keys
from tuneward.workflows.consent import heed_deployed
from tuneward.workflows.gateway import Gateway, serve_until_stopped
from tuneward.workflows.verify import check_deployment
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class ServeResult:
    """A gateway that answers; printed when it is ready, not when it ends.

    Attributes:
        url: base URL for OpenAI's clients, ``…/v1``.
        models: the aliases that it serves.
        key: a first key, made because the site had none that is valid; shown this once. None otherwise; a
            key that nobody saw, as the process was killed before it showed it, is replaced by a new one.
    """

    url: str
    models: tuple[str, ...]
    key: str | None


def serve(
    workspace: Workspace,
    *,
    port: int | None = None,
    ready: Callable[[ServeResult], None] = lambda result: None,
    progress: Progress = SILENT,
) -> None:
    """Check every active deployment's chain, start engine and gateway, and serve until Ctrl-C or SIGTERM.

    Args:
        workspace: the project whose ``serving`` section holds; all of the site's deployments are served.
        port: instead of the section's.
        ready: called once when the gateway answers.
        progress: told about each step of the start.

    Raises:
        ServingError: nothing is deployed, the port is taken, or the engine cannot start.
        ProofError: a deployment does not check out.
        GovernanceError: a deployment stands downstream of a withdrawn consent, and the policy refuses that.
    """
    office, config = workspace.office, workspace.project.serving
    if port is not None:
        config = config.model_copy(update={"port": port})

    guard = make_guard(config.guard, lambda: make_inspector(workspace.project.inspection, folder=workspace.folder))
    heed_deployed(office, progress.say)
    with office.site.lock("serve"):
        api_keys.revoke_passing(office)

    def begun(running: Gateway) -> None:
        first = None
        if all(key.revoked_at for key in list_keys(office).keys):
            first = create_key(office, "first").text
        ready(ServeResult(url=f"{running.url}/v1", models=running.aliases, key=first))

    serve_until_stopped(
        office,
        config,
        check=lambda site, keys, deployment: check_deployment(office, deployment),
        ready=begun,
        guard=guard,
        progress=progress,
    )
