"""``python -m tuneward.serving.engine``: one base model behind HTTP on loopback, until its parent goes.

Place on the road: started by ``serving.process``; a process of its own, so that the web process loads no torch.
Standard output carries JSON lines: ``{"event":"ready",…}`` once it answers, or ``{"event":"error","faults":[…]}`` and
an exit code from the error tree. It ends within two seconds of SIGTERM, of the end of its standard input, or of its
parent's death.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from tuneward.errors import Fault, ServingError, TunewardError
from tuneward.modeling.config import Quantisation
from tuneward.settings import silence

KEY_VARIABLE = "TUNEWARD_ENGINE_KEY"
SHORTEST_KEY = 16
#: Time that answers under way have after the order to end.
GRACE_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Parse, load, serve; the exit code."""
    options = _parse(arguments)
    ending = _Ending()
    ending.watch_parent()
    try:
        key = _key()
        listener = _bind(options.port)
        _serve(options, key, listener, ending)
    except TunewardError as error:
        _say({"event": "error", "faults": [fault.to_json() for fault in error.faults]})
        return error.exit_code
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuneward.serving.engine", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--name", help="the base's name in `model`; the folder's name if not given")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    told = "of the base's linear layers; nf4-all: of embedding and output head too"
    parser.add_argument("--quantisation", choices=get_args(Quantisation), default="none", help=told)
    parser.add_argument("--max-rows", type=int, default=64, help="answers at once")
    parser.add_argument("--cache-mib", type=int, default=1536, help="memory for keys and values")
    parser.add_argument("--adapters-root", type=Path, help="folder below which adapters may lie")
    return parser.parse_args(arguments)


def _key() -> str:
    key = os.environ.pop(KEY_VARIABLE, "")
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable():
        cure = f"set {KEY_VARIABLE} to a random text of at least {SHORTEST_KEY} ASCII characters"
        raise ServingError(Fault("TW-SERV-003", "the engine's key is missing or too short", KEY_VARIABLE, cure))
    return key


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ServingError(
            Fault("TW-SERV-002", f"port {port} cannot be bound: {reason}", "--port", "choose another port, or 0")
        ) from None
    return listener


def _serve(options: argparse.Namespace, key: str, listener: socket.socket, ending: "_Ending") -> None:
    silence()
    import torch
    import uvicorn

    from tuneward.modeling.adapter_bank import AdapterBank
    from tuneward.modeling.base_model import best_precision, load_base, prove
    from tuneward.modeling.chat import Chat
    from tuneward.modeling.generate import Decoder, context_tokens
    from tuneward.modeling.machine import threads
    from tuneward.serving.engine.app import Engine, build_app
    from tuneward.serving.engine.scheduler import Scheduler

    torch.set_num_threads(threads())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = best_precision(device) if options.precision == "auto" else options.precision
    chat = Chat.load(options.base)
    model = load_base(options.base, precision=precision, device=device, quantisation=options.quantisation)
    prove(model)
    bank = AdapterBank(model)
    scheduler = Scheduler(
        Decoder(model, bank=bank),
        bank,
        chat,
        context_tokens=context_tokens(model),
        max_rows=options.max_rows,
        cache_bytes=options.cache_mib << 20,
    )
    scheduler.start()
    name = options.name or options.base.resolve().name
    app = build_app(Engine(name, precision, chat, scheduler, key, options.adapters_root))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=int(GRACE_SECONDS)
    )

    class Server(uvicorn.Server):
        """Leaves signals to :class:`_Ending`."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            told = {"precision": precision, "quantisation": options.quantisation, "name": name}
            _say({"event": "ready", "port": listener.getsockname()[1], **told})

    server = Server(config)

    def stop() -> None:
        server.should_exit = True

    ending.on_end(stop)
    server.run(sockets=[listener])


class _Ending:
    """Brings the process to its end: politely at first, then at once."""

    def __init__(self) -> None:
        self._stop: Any = None
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())

    def on_end(self, stop: Any) -> None:
        """From now on there is something to end politely."""
        self._stop = stop

    def watch_parent(self) -> None:
        """End with the parent: when standard input closes, or when another process has become the parent."""
        for watch in (self._watch_input, self._watch_parent):
            threading.Thread(target=watch, name=watch.__name__, daemon=True).start()

    def end(self) -> None:
        """End now; what is under way has :data:`GRACE_SECONDS`."""
        if self._stop is None:
            os._exit(0)
        self._stop()
        threading.Thread(target=self._force, name="force", daemon=True).start()

    def _force(self) -> None:
        time.sleep(GRACE_SECONDS + 0.5)
        os._exit(0)

    def _watch_input(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        self.end()

    def _watch_parent(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(0.5)
        self.end()


def _say(event: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        print(json.dumps(event), flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the scheduler's thread may be inside torch; nothing is left to tidy
