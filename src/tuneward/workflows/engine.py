"""The engine as every step opens it: on the project's base, confined to verified adapters, at the serving precision.

Place on the road: under ``evaluate`` and ``deploy``; ``serve`` starts its own, which lives longer. One way to start it
is why the evaluated model and the served one run the same program.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tuneward.serving.client import EngineClient
from tuneward.serving.process import EngineProcess
from tuneward.workflows.workspace import Workspace

#: Name under which an engine offers the bare base.
BASE_NAME = "base"


@contextmanager
def engine_with(workspace: Workspace, *, base_id: str, adapter_id: str) -> Iterator[tuple[EngineClient, str]]:
    """Start an engine on a base, load one adapter under its digest, and end the engine afterwards.

    Yields:
        The client and the precision that the engine computes in.

    Raises:
        ServingError: the engine cannot start, or refuses the adapter.
    """
    artifacts, serving = workspace.site.artifacts, workspace.project.serving
    engine = EngineProcess(
        artifacts.tree(base_id),
        name=BASE_NAME,
        adapters_root=artifacts.trees_folder,
        log_file=workspace.site.folder / "engine.log",
        precision=serving.precision,
        max_rows=serving.max_rows,
    )
    with engine, EngineClient(engine.url, engine.key, concurrency=serving.max_rows) as client:
        client.load_adapter(adapter_id, artifacts.tree(adapter_id))
        yield client, engine.precision
