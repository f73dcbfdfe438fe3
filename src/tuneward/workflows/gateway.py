"""The gateway and its engines, from a verified start to a clean end.

Place on the road: step 7, after ``deploy``. It holds the site's ``serve`` lock, opens the port, has every active
deployment checked before anything is loaded, starts one engine per foundation, loads the adapters and runs the
gateway's web application in this process; the log is signed while it runs and when it ends. The web application is a
door and named by its import path, as the engine's program is; this file does not import it. Adapters, aliases and
checks are the router's matter.
"""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from starlette.types import ASGIApp
from uvicorn.importer import import_from_string

from tuneward.domain.audit import AuditEvent
from tuneward.domain.version import Deployment
from tuneward.errors import Fault, ProofError, ServingError, TunewardError
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.consent import bar, unservable
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.ids import new_id
from tuneward.progress import SILENT, Progress
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.config import LOOPBACK, ServingConfig
from tuneward.serving.foundation import Foundation
from tuneward.serving.guard import Guard
from tuneward.serving.process import ENGINE_COMMAND, EngineProcess
from tuneward.serving.router import BASE_NAME, Engine, Route, Router
from tuneward.storage.repository import latest
from tuneward.storage.site import Site
from tuneward.workflows.answer import Desk
from tuneward.workflows.log import regular_checkpoints

#: All faults of a deployment; empty when it may be served.
CheckDeployment = Callable[[Site, Keys, Deployment], list[Fault]]
#: Makes the web application over a desk.
MakeApp = Callable[[Desk], ASGIApp]

_APP = "tuneward.web.app:create_app"
_STOP_SECONDS = 10
_CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Gateway:
    """A running gateway.

    Attributes:
        id: ``gw_…``, the subject of its ``gateway.start`` and ``gateway.stop`` events.
        url: such as ``http://127.0.0.1:8321``; OpenAI's clients take ``url + "/v1"`` as ``base_url``.
        host: address it listens on.
        port: the port, also when 0 was asked for.
        routes: what it serves, as of its start.
        precision: number format of the engines.
    """

    id: str
    url: str
    host: str
    port: int
    routes: tuple[Route, ...]
    precision: str
    _engines: tuple[EngineProcess, ...]
    _web: "_Web"

    @property
    def aliases(self) -> tuple[str, ...]:
        """The model names that clients may use."""
        return tuple(route.deployment.alias for route in self.routes)

    def check(self) -> None:
        """Raise if the gateway or one of its engines has ended by itself.

        Raises:
            ServingError: says which, and where its log is.
        """
        for engine in self._engines:
            engine.check_alive()
        self._web.check_alive()


def serve_until_stopped(
    office: Office,
    config: ServingConfig,
    *,
    check: CheckDeployment,
    ready: Callable[[Gateway], None] = lambda gateway: None,
    guard: Guard | None = None,
    progress: Progress = SILENT,
    engine_command: Sequence[str] = ENGINE_COMMAND,
) -> None:
    """Serve until Ctrl-C or SIGTERM, then let running answers end (at most ten seconds), stop and say so.

    Call it from the main thread. ``ready`` is called once, when the port answers.

    Raises:
        TunewardError: see :func:`gateway`; also when an engine ends by itself.
        KeyboardInterrupt: when interrupted before the gateway was ready.
    """
    with _one_interrupt():
        started = False
        try:
            with gateway(
                office, config, check=check, guard=guard, progress=progress, engine_command=engine_command
            ) as running:
                ready(running)
                started = True
                while True:
                    running.check()
                    time.sleep(0.5)
        except KeyboardInterrupt as stop:
            if not started:
                raise
            progress.say(f"the gateway has ended: {stop} asked for it")


@contextmanager
def gateway(
    office: Office,
    config: ServingConfig,
    *,
    check: CheckDeployment,
    guard: Guard | None = None,
    progress: Progress = SILENT,
    make_app: MakeApp | None = None,
    engine_command: Sequence[str] = ENGINE_COMMAND,
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
) -> Iterator[Gateway]:
    """A gateway that answers while the block runs.

    Args:
        office: site, keys, actor and policy.
        config: where to listen and what an answer may cost.
        check: tells a deployment's faults; every active one is checked before anything is loaded.
        guard: looks at prompts and answers; None where nothing is looked at.
        progress: told about each step of the start.
        make_app: makes another web application than ours (for tests).
        engine_command: program that speaks the engine's routes.
        checkpoint_seconds: how often the log is signed, where events were added.

    Raises:
        StorageError: another process serves this site.
        GovernanceError: the actor may not start a gateway.
        ServingError: no active deployment, the port is taken, an engine or an adapter does not start.
        ProofError: a deployment does not check out; every fault of every deployment is named.
    """
    site, identity = office.site, new_id("gw")
    permit(office, "gateway.start")
    with ExitStack() as held:
        held.enter_context(site.lock("serve"))
        router = Router(
            site,
            check=lambda deployment: [*check(site, office.keys, deployment), *unservable(office, deployment)],
            bar=lambda deployment: bar(office, deployment),
        )
        try:
            listening = held.enter_context(_listen(config))
            progress.say("checking the active deployments")
            served = router.verify()
            needed = {router.foundation(version)[1] for _, version in served}
            folders = {foundation: _model_folder(site, foundation) for foundation in sorted(needed, key=str)}
            if not served:
                raise ServingError(
                    Fault("TW-SERV-040", "no deployment is active", str(site.folder), "run `tuneward deploy` first")
                )
            engines: dict[Foundation, EngineProcess] = {}
            for foundation, folder in folders.items():
                progress.say(f"starting the engine for base {foundation}")
                process = EngineProcess(
                    folder,
                    name=BASE_NAME,
                    adapters_root=site.artifacts.folder / "trees",
                    log_file=site.run_folder(identity) / f"engine-{foundation.file_name}.log",
                    precision=config.precision,
                    quantisation=foundation.quantisation,
                    max_rows=config.max_rows,
                    command=engine_command,
                )
                engines[foundation] = held.enter_context(process)
            clients = {
                foundation: Engine(
                    manage=held.enter_context(EngineClient(process.url, process.key)),
                    answer=AsyncEngineClient(process.url, process.key, timeout_seconds=config.request_timeout_seconds),
                    precision=process.precision,
                    quantisation=process.quantisation,
                )
                for foundation, process in engines.items()
            }
            routes = tuple(router.start(clients))
            desk = Desk(office, router=router, config=config, guard=guard)
            app = (make_app or import_from_string(_APP))(desk)
        except TunewardError as error:
            _refuse(office, identity, error)
        web = _Web(app, listening, close=[engine.answer.close for engine in clients.values()])
        host, port = listening.getsockname()[:2]
        precision = next(iter(engines.values())).precision
        with change(office, "gateway.start", identity) as started:
            deployments = [
                {"id": r.deployment.id, "version": r.version.id, "adapter": r.version.adapter} for r in routes
            ]
            started.note(host=host, port=port, precision=precision, deployments=deployments)
        try:
            held.enter_context(web)
            with regular_checkpoints(office, every_seconds=checkpoint_seconds, progress=progress):
                yield Gateway(identity, url_of(host, port), host, port, routes, precision, tuple(engines.values()), web)
        finally:
            web.stop()
            with change(office, "gateway.stop", identity):
                pass
            checkpoint(office)


def running_url(site: Site) -> str | None:
    """Where the site's gateway listens now, as the log says; None when none runs."""
    if not site.held("serve"):
        return None
    with site.database.read() as c:
        started = latest(c, AuditEvent, action="gateway.start", decision="done")
    return url_of(started.detail["host"], started.detail["port"]) if started else None


def url_of(host: str, port: int) -> str:
    """The address of a gateway."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Web:
    """uvicorn in a thread of its own; the thread that started it stays free to wait for signals."""

    def __init__(self, app: ASGIApp, listening: socket.socket, *, close: Sequence[Callable[[], Any]]) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # paths and addresses of callers are nobody's business but the audit log's
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._listening = listening
        self._close = close
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="gateway", daemon=True)

    def __enter__(self) -> "_Web":
        self._thread.start()
        while not self._server.started:
            self.check_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check_alive(self) -> None:
        if not self._thread.is_alive():
            raise ServingError(Fault("TW-SERV-050", "its web server has ended", cure="start `tuneward serve` again"))

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS + 5)

    async def _run(self) -> None:
        try:
            await self._server.serve(sockets=[self._listening])
        finally:
            for close in self._close:
                await close()


def _listen(config: ServingConfig) -> socket.socket:
    """The gateway's socket, opened before the slow part of the start.

    Raises:
        ServingError: the address is not this machine's alone, or the port is taken.
    """
    if config.host not in LOOPBACK and not config.allow_remote:
        raise ServingError(
            Fault(
                "TW-SERV-030",
                f"{config.host} can be reached from other machines",
                "serving.host",
                "keep 127.0.0.1, or set serving.allow_remote: true and put TLS in front",
            )
        )
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ServingError(
            Fault(
                "TW-SERV-031",
                f"port {config.port} on {config.host}: {error.strerror}",
                "serving.port",
                "end the program that holds it, or choose another port (--port; 0 takes a free one)",
            )
        ) from None
    return listening


def _model_folder(site: Site, foundation: Foundation) -> Path:
    changed = site.artifacts.check(foundation.model)
    if changed:
        what = f"base files are missing, changed or extra: {', '.join(changed)}"
        cure = "pull the base again; train again where the run trained every weight"
        raise ProofError(Fault("TW-SERV-040", what, f"base {foundation.model[:12]}", cure))
    return site.artifacts.tree(foundation.model)


def _refuse(office: Office, identity: str, error: TunewardError) -> NoReturn:
    """Log the refused start, then raise what refused it."""
    with change(office, "gateway.start", identity):
        raise error


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """SIGTERM interrupts like Ctrl-C; while the first of either is being obeyed, further ones are ignored."""

    def interrupt(number: int, frame: object) -> None:
        for name in before:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, interrupt)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
