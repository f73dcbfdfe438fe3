"""The engine as every step opens it: on a model's foundation, confined to verified adapters, at the serving precision.

Place on the road: under ``evaluate``, ``deploy`` and ``draft``; ``serve`` starts its own, which lives longer. One way
to start it is why the evaluated model and the served one run the same program.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from tuneward.domain.run import Adapter
from tuneward.serving.client import EngineClient
from tuneward.serving.foundation import Foundation, loads_adapter
from tuneward.serving.process import EngineProcess
from tuneward.serving.router import BASE_NAME
from tuneward.workflows.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class Both(Generic[T]):
    """What base and tuned gave to the same question.

    Attributes:
        base: the base's; kept in four bits where the adapter was trained beside such a one.
        tuned: the tuned model's.
        precision: in which both computed.
        quantisation: what of the base is kept in four bits; see :class:`tuneward.serving.foundation.Foundation`.
    """

    base: T
    tuned: T
    precision: str
    quantisation: str


def ask_both(workspace: Workspace, adapter: Adapter, ask: Callable[[EngineClient, str, str], T]) -> Both[T]:
    """Put the same question to a base and to what was trained from it, in engines that serve such models.

    An adapter is asked beside its base, in one engine. A model whose every weight was trained takes its base's place:
    the two are asked one after the other, each alone in memory.

    Args:
        workspace: the project.
        adapter: what was trained.
        ask: given a client, the model's name there, and ``base`` or ``tuned``.

    Raises:
        ServingError: an engine cannot start, or refuses the adapter.
    """
    foundation = Foundation.of(adapter)
    beside = foundation if loads_adapter(adapter) else Foundation(adapter.base)
    with open_engine(workspace, beside) as (client, engine):
        if loads_adapter(adapter):  # before anything is asked: a refusal should not cost the base's answers
            client.load_adapter(adapter.id, workspace.site.artifacts.tree(adapter.id))
        of_base = ask(client, BASE_NAME, "base")
        if loads_adapter(adapter):
            return Both(of_base, ask(client, adapter.id, "tuned"), engine.precision, engine.quantisation)
    with open_engine(workspace, foundation) as (client, engine):
        return Both(of_base, ask(client, BASE_NAME, "tuned"), engine.precision, engine.quantisation)


@contextmanager
def open_engine(workspace: Workspace, foundation: Foundation) -> Iterator[tuple[EngineClient, EngineProcess]]:
    """An engine on a model's foundation, and a client of it; ended on leaving.

    Raises:
        ServingError: it cannot start.
    """
    artifacts, serving = workspace.site.artifacts, workspace.project.serving
    engine = EngineProcess(
        artifacts.tree(foundation.model),
        name=BASE_NAME,
        adapters_root=artifacts.trees_folder,
        log_file=workspace.site.folder / "engine.log",
        precision=serving.precision,
        quantisation=foundation.quantisation,
        max_rows=serving.max_rows,
    )
    with engine, EngineClient(engine.url, engine.key, concurrency=serving.max_rows) as client:
        yield client, engine
