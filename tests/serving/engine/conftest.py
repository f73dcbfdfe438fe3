import threading

import pytest

from tests.modeling.test_adapter_bank import random_weights
from tests.tiny import make_tiny_base
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.base_model import load_base
from tuneward.modeling.chat import Chat
from tuneward.modeling.generate import Decoder
from tuneward.serving.engine.answer import Piece
from tuneward.serving.engine.sampler import Sampling
from tuneward.serving.engine.scheduler import Job, Scheduler


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("engine") / "tiny")


@pytest.fixture(scope="session")
def model(base_folder):
    return load_base(base_folder, precision="fp32")


@pytest.fixture(scope="session")
def chat(base_folder):
    return Chat.load(base_folder)


@pytest.fixture
def bank(model):
    return AdapterBank(model)


@pytest.fixture
def start(model, bank, chat):
    """Start a scheduler with given limits; it ends with the test."""
    started = []

    def make(**limits):
        scheduler = Scheduler(Decoder(model, bank=bank), bank, chat, **{"context_tokens": 512, **limits})
        scheduler.start()
        started.append(scheduler)
        return scheduler

    yield make
    for scheduler in started:
        scheduler.stop()
        for name in scheduler.adapters:
            bank.unload(scheduler._held[name].adapter)


@pytest.fixture
def weights(model):
    return lambda seed: random_weights(model, seed=seed)


class Asked:
    """A request that collects what it is told."""

    def __init__(self, prompt, model=None, **sampling):
        self.events, self._ended, self.begun = [], threading.Event(), threading.Event()
        self.job = Job(list(prompt), model, Sampling(**{"max_tokens": 20, **sampling}), self._tell)

    def _tell(self, event):
        self.events.append(event)
        self.begun.set()
        if not isinstance(event, Piece):
            self._ended.set()

    def end(self):
        assert self._ended.wait(60), "no answer within a minute"
        return self.events[-1]

    @property
    def text(self):
        return "".join(event.text for event in self.events if isinstance(event, Piece))


@pytest.fixture
def asked():
    return Asked
