"""Tracking: a run's figures and settings for the tools that people watch runs with.

Place on the road: listens to the events that the loop emits. TensorBoard's files are always written, into the run's
folder; an MLflow server is told where its address is given. Figures and settings go there and nothing else: no row, no
id of a row, no sample. Whatever fails here ends no run: it is said once, and that tracker is left alone.
"""

import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tuneward.training.config import TrainingConfig

EVENTS_FOLDER = "tensorboard"
MLFLOW_NOTE = "mlflow-run"

#: Name and key in an address.
_KEYS = re.compile(r"//[^/@\s]+@")

#: Seconds that the end of a run waits for an MLflow server at most.
PATIENCE_SECONDS = 20.0

#: Set before MLflow is imported: no telemetry, and a server that is gone is given up soon.
MLFLOW_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
MLFLOW_ENVIRONMENT |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
MLFLOW_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

Emit = Callable[[dict[str, Any]], None]


class Tracker(Protocol):
    """Somebody who is told figures and settings. Every method may raise."""

    name: str

    def settings(self, settings: Mapping[str, str]) -> None:
        """The run's settings and sizes, once."""

    def resumed(self, step: int) -> None:
        """The run goes on after ``step``; what was told of later ones will be told again."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures after a step."""

    def flush(self) -> None:
        """What was told must survive the process from here on."""

    def close(self, *, finished: bool) -> None:
        """The run ends, or stops to be gone on with."""


class EventFiles:
    """TensorBoard's event files; a run that goes on hides what it makes again.

    Args:
        folder: receives them.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings: Mapping[str, str] = {}
        self._first: int | None = None
        self._writer: Any = None

    def settings(self, settings: Mapping[str, str]) -> None:
        """See :class:`Tracker`; written as one table before the first figure."""
        self._settings = settings

    def resumed(self, step: int) -> None:
        """See :class:`Tracker`."""
        self._first = step + 1

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """See :class:`Tracker`."""
        if self._writer is None:
            self._writer = self._open()
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """See :class:`Tracker`."""
        if self._writer is not None:
            self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """See :class:`Tracker`."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> Any:
        from tensorboardX import SummaryWriter

        suffix = f".{time.time_ns()}"  # two files of one second would be one
        folder = str(self._folder)
        writer = SummaryWriter(logdir=folder, purge_step=self._first, flush_secs=10, filename_suffix=suffix)
        if self._first is None:
            rows = "\n".join(f"| {name} | {value} |" for name, value in self._settings.items())
            writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)
        return writer


class Mlflow:
    """An MLflow server, spoken to from a thread of its own: a slow one never holds up a step.

    Args:
        uri: its address.
        experiment: name of the experiment; made when it is not there.
        run: name of the run.
        note: file that holds MLflow's id of the run, so that a run that goes on stays one.
    """

    name = "MLflow"

    def __init__(self, uri: str, *, experiment: str, run: str, note: Path) -> None:
        self._uri, self._experiment, self._run, self._note = uri, experiment, run, note
        self._todo: queue.Queue[Callable[[Any, str], None] | None] = queue.Queue()
        self._failure: Exception | None = None
        self._fresh = True
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def settings(self, settings: Mapping[str, str]) -> None:
        """See :class:`Tracker`."""

        def send(client: Any, run: str) -> None:
            from mlflow.entities import Param

            if not self._fresh:  # the server knows them, and refuses those that were measured anew
                return
            params = [Param(name, value[:500]) for name, value in settings.items()]
            for at in range(0, len(params), 100):  # as many as one request may hold
                client.log_batch(run, params=params[at : at + 100])

        self._put(send)

    def resumed(self, step: int) -> None:
        """The server keeps both values of a step that is made again, and shows the newer."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """See :class:`Tracker`."""
        moment = int(time.time() * 1000)

        def send(client: Any, run: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run, metrics=[Metric(name, value, moment, step) for name, value in figures.items()])

        self._put(send)

    def flush(self) -> None:
        """The server keeps what it was told."""

    def close(self, *, finished: bool) -> None:
        """See :class:`Tracker`."""
        if finished:
            self._put(lambda client, run: client.set_terminated(run, status="FINISHED"))
        self._todo.put(None)
        self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {PATIENCE_SECONDS:.0f} seconds")
        self._raise_failure()

    def _put(self, send: Callable[[Any, str], None]) -> None:
        self._raise_failure()
        self._todo.put(send)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            client = _client(self._uri)
            run = self._enter(client)
            while (send := self._todo.get()) is not None:
                send(client, run)
        except Exception as error:  # told by the next call, in the run's own thread
            self._failure = error

    def _enter(self, client: Any) -> str:
        """MLflow's id of the run: the noted one, or a new one."""
        self._fresh = not self._note.is_file()
        if not self._fresh:
            return self._note.read_text(encoding="utf-8").strip()
        found = client.get_experiment_by_name(self._experiment)
        number = client.create_experiment(self._experiment) if found is None else found.experiment_id
        run: str = client.create_run(number, run_name=self._run).info.run_id
        self._note.write_text(run + "\n", encoding="utf-8")
        return run


def _client(uri: str) -> Any:
    os.environ.update(MLFLOW_ENVIRONMENT)
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise RuntimeError("mlflow-skinny is not installed: pip install 'tuneward[mlflow]'") from None
    return MlflowClient(tracking_uri=uri)


class Tracked:
    """An ``emit`` that also tells trackers.

    Args:
        emit: receives every event, and ``warning`` where a tracker fails.
        trackers: who is told.
    """

    def __init__(self, emit: Emit, trackers: list[Tracker]) -> None:
        self._emit, self._trackers = emit, trackers

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass the event on, and its figures to the trackers."""
        self._emit(event)
        kind = event["event"]
        if kind == "step":
            names = ("loss", "learning_rate", "gradient_norm", "tokens", "tokens_per_second")
            self._figures(event["step"], "train", {name: event[name] for name in names} | dict(event["figures"]))
        elif kind == "validation":
            self._figures(event["step"], "validation", {"loss": event["loss"], **event["figures"]})
        elif kind == "resumed":
            self._tell(lambda tracker: tracker.resumed(event["step"]))
        elif kind == "checkpoint":
            self._tell(lambda tracker: tracker.flush())

    def settings(self, config: TrainingConfig, sizes: Mapping[str, Any]) -> None:
        """Tell settings and sizes, once per process."""
        flat = dict(_flat({"training": config.canonical(), "plan": sizes}))
        self._tell(lambda tracker: tracker.settings(flat))

    def close(self, *, finished: bool) -> None:
        """The run ends here."""
        self._tell(lambda tracker: tracker.close(finished=finished))

    def _figures(self, step: int, part: str, figures: Mapping[str, float]) -> None:
        named = {f"{part}/{name}": float(value) for name, value in figures.items()}
        self._tell(lambda tracker: tracker.figures(step, named))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                what(tracker)
            except Exception as error:  # whatever a foreign library raises
                self._trackers.remove(tracker)
                said = _KEYS.sub("//", str(error)).strip()  # an address may carry a name and a key
                reason = said.splitlines()[0][:200] if said else type(error).__name__
                text = f"{tracker.name} is told no more ({reason}); the run goes on without it"
                self._emit({"event": "warning", "text": text})


def make_trackers(config: TrainingConfig, folder: Path) -> list[Tracker]:
    """TensorBoard's files, and MLflow where an address is set or stands in ``MLFLOW_TRACKING_URI``."""
    trackers: list[Tracker] = [EventFiles(folder / EVENTS_FOLDER)]
    uri = config.tracking.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        experiment = config.tracking.mlflow_experiment
        trackers.append(Mlflow(uri, experiment=experiment, run=folder.name, note=folder / MLFLOW_NOTE))
    return trackers


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found
