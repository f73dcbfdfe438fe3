"""Router: the gateway's table alias → deployment → adapter digest → the engine's name for it.

Place on the road: inside ``workflows/gateway``. It reads the site's active deployments, lets only checked ones through,
and keeps the engines' loaded adapters in step with them. What "checked" means is handed in (``check``); over and
above it every adapter's files are hashed right before they are loaded. What may end a checked deployment while it is
served is handed in, too (``bar``). Clients never name files or adapters: the
engine's names are digests, made here.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Adapter
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.errors import Fault, ProofError, ServingError, TunewardError
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.foundation import Foundation, loads_adapter
from tuneward.storage.repository import find, get, require
from tuneward.storage.site import Site

#: All faults of a deployment: signature, approval, gate, digests. Empty means that it may be served.
Check = Callable[[Deployment], list[Fault]]
#: What has come up since against a deployment that was checked; asked before every answer, so it must be cheap.
Bar = Callable[[Deployment], Fault | None]

#: Name under which an engine offers its foundation, without any adapter.
BASE_NAME = "base"
_PREFIX = "adapter-"
#: A refused deployment is not checked again for every request: checking hashes files.
_REFUSED_SECONDS = 5.0


def engine_name(adapter: str) -> str:
    """The engine's name for an adapter: the same bytes always have the same name, other bytes never."""
    return _PREFIX + adapter


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        manage: loads and unloads its adapters.
        answer: answers through it.
        precision: the number format in which it computes.
        quantisation: what of the base is kept in four bits; see :class:`tuneward.serving.foundation.Foundation`.
    """

    manage: EngineClient
    answer: AsyncEngineClient
    precision: str
    quantisation: str = "none"


@dataclass(frozen=True)
class Route:
    """Where one answer goes.

    Attributes:
        deployment: under the alias that the client named.
        version: the model version behind it.
        foundation: what the version is served on.
        engine: the engine that holds it.
        model: the adapter's name there, or that of the foundation where it is the whole model.
    """

    deployment: Deployment
    version: ModelVersion
    foundation: Foundation
    engine: Engine
    model: str


class Router:
    """Keeps routes; safe to use from many threads.

    Args:
        site: whose deployments are served.
        check: tells a deployment's faults; called before its adapter is loaded.
        bar: tells what has come up against a checked deployment; called before every answer.
    """

    def __init__(self, site: Site, *, check: Check, bar: Bar = lambda deployment: None) -> None:
        self._site = site
        self._check = check
        self._bar = bar
        self._engines: dict[Foundation, Engine] = {}
        self._lock = threading.RLock()  # held while adapters load
        self._count = threading.Lock()  # held for a moment; an answer's end never waits for a load
        self._verified: dict[str, ModelVersion] = {}  # deployment id → its version, checked but not loaded yet
        self._routes: dict[str, Route] = {}  # deployment id → route, checked and loaded
        self._refused: dict[str, tuple[float, TunewardError]] = {}  # deployment id → when and why
        self._under_way: Counter[tuple[Foundation, str]] = Counter()  # where, adapter → answers being written

    def verify(self) -> list[tuple[Deployment, ModelVersion]]:
        """Check every active deployment, before any engine is started for it.

        Raises:
            TunewardError: all faults of all deployments, each with its alias.
        """
        found: list[Fault] = []
        kind: type[TunewardError] = ServingError
        deployments = self.active()
        for deployment in deployments:
            try:
                self._verified[deployment.id] = self._version(deployment)
            except TunewardError as error:
                kind = kind if found else type(error)
                found += error.faults
        if found:
            raise kind(found)
        return [(deployment, self._verified[deployment.id]) for deployment in deployments]

    def foundation(self, version: ModelVersion) -> tuple[Adapter, Foundation]:
        """The adapter of a version, and what it is served on."""
        with self._site.database.read() as connection:
            adapter = require(connection, Adapter, version.adapter)
        return adapter, Foundation.of(adapter)

    def start(self, engines: Mapping[Foundation, Engine]) -> list[Route]:
        """Load the adapters of every active deployment, and unload what no deployment names.

        Args:
            engines: foundation → engine.

        Raises:
            TunewardError: what forbids or hinders one of them; then nothing must be served.
        """
        with self._lock:
            self._engines = dict(engines)
            active = self.active()
            for deployment in active:
                self._admit(deployment)
            self._unload_dropped(active)
            return list(self._routes.values())

    def active(self) -> list[Deployment]:
        """The deployments that the site's database calls active now."""
        with self._site.database.read() as connection:
            return find(connection, Deployment, status="active")

    @contextmanager
    def lease(self, alias: str) -> Iterator[Route]:
        """The route of ``alias`` for one answer; its adapter stays loaded until the block ends.

        A deployment that became active since the last call is checked and loaded first; one that was replaced is
        unloaded by the first call after its last answer has ended. What has been barred begins no new answer; those
        under way may end.

        Raises:
            ServingError: ``TW-SERV-042`` for an unknown alias, else what bars or forbids the deployment.
        """
        with self._lock:
            active = self.active()
            deployment = next((d for d in reversed(active) if d.alias == alias), None)
            if deployment is None:
                raise ServingError(
                    Fault("TW-SERV-042", f"the model {alias!r} does not exist", "model", "GET /v1/models lists them")
                )
            if (barred := self._bar(deployment)) is not None:
                raise ServingError(_placed(barred, deployment))
            route = self._routes.get(deployment.id) or self._admit_late(deployment)
            if self._routes.keys() - {d.id for d in active}:
                self._unload_dropped(active)
            place = (route.foundation, route.version.adapter)
            with self._count:  # last: whatever fails above has counted nothing
                self._under_way[place] += 1
        try:
            yield route
        finally:
            with self._count:
                self._under_way[place] -= 1

    def _version(self, deployment: Deployment) -> ModelVersion:
        """The version behind a deployment, after all checks."""
        faults = [_placed(fault, deployment) for fault in self._check(deployment)]
        if faults:
            raise ProofError(faults)
        with self._site.database.read() as connection:
            version = get(connection, ModelVersion, deployment.version)
        if version is None:
            fault = Fault("TW-SERV-040", f"its version {deployment.version} is not registered", cure="deploy again")
            raise ServingError(_placed(fault, deployment))
        return version

    def _admit_late(self, deployment: Deployment) -> Route:
        """Admit a deployment that came after the start; what refused it is remembered for a while."""
        since, error = self._refused.get(deployment.id, (0.0, None))
        if error is not None and time.monotonic() - since < _REFUSED_SECONDS:
            raise error
        try:
            return self._admit(deployment)
        except TunewardError as refused:
            self._refused[deployment.id] = (time.monotonic(), refused)
            raise

    def _admit(self, deployment: Deployment) -> Route:
        """Check a deployment and load its adapter where the engine does not hold it."""
        version = self._verified.pop(deployment.id, None) or self._version(deployment)
        adapter, foundation = self.foundation(version)
        engine = self._engines.get(foundation)
        if engine is None:
            what = f"its base {foundation} is not loaded in any engine"
            fault = Fault("TW-SERV-040", what, cure="start `tuneward serve` again")
            raise ServingError(_placed(fault, deployment))
        self._same_numbers(deployment, version, foundation, engine)
        name = engine_name(version.adapter) if loads_adapter(adapter) else BASE_NAME
        if name not in engine.manage.models():
            changed = self._site.artifacts.check(version.adapter)
            if changed:
                what = f"adapter files are missing, changed or extra: {', '.join(changed)}"
                fault = Fault("TW-SERV-037", what, cure="restore the artefact store, or train again")
                raise ProofError(_placed(fault, deployment))
            engine.manage.load_adapter(name, self._site.artifacts.tree(version.adapter))
        route = Route(deployment, version, foundation, engine, model=name)
        self._routes[deployment.id] = route
        return route

    def _same_numbers(
        self, deployment: Deployment, version: ModelVersion, foundation: Foundation, engine: Engine
    ) -> None:
        """Evaluated is what is served: weights in another number format are another model."""
        with self._site.database.read() as connection:
            evaluation = get(connection, Evaluation, version.evaluation)
        evaluated = evaluation.canary.get("precision") if evaluation else None
        if evaluated is not None and evaluated != engine.precision:
            what = f"the engine computes in {engine.precision}, evaluated was {evaluated}"
            cure = f"set serving.precision: {evaluated}, or evaluate again on this machine"
            raise ServingError(_placed(Fault("TW-SERV-052", what, cure=cure), deployment))
        kept = evaluation.canary.get("quantisation", foundation.quantisation) if evaluation else foundation.quantisation
        if not kept == foundation.quantisation == engine.quantisation:
            what = (
                f"the engine's base is kept in {engine.quantisation}, it was trained beside {foundation.quantisation}"
            )
            what += f" and evaluated beside {kept}"
            cure = "start `tuneward serve` again, or evaluate again"
            raise ServingError(_placed(Fault("TW-SERV-053", what, cure=cure), deployment))

    def _unload_dropped(self, active: list[Deployment]) -> None:
        """Unload what neither an active deployment nor an answer under way needs; what fails is tried again."""
        ids = {deployment.id for deployment in active}
        kept = {
            identity: route
            for identity, route in self._routes.items()
            if identity in ids or self._under_way[route.foundation, route.version.adapter]
        }
        wanted = {(route.foundation, route.model) for route in kept.values()}
        for foundation, engine in self._engines.items():
            for name in engine.manage.models():
                if name.startswith(_PREFIX) and (foundation, name) not in wanted:
                    engine.manage.unload_adapter(name)
        self._routes = kept


def _placed(fault: Fault, deployment: Deployment) -> Fault:
    place = f"deployment {deployment.alias} ({deployment.id})"
    return Fault(fault.code, fault.message, f"{place}: {fault.place}" if fault.place else place, fault.cure)
