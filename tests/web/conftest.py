import pytest

from tests.serving.fake_engine import FakeEngine, Running
from tests.serving.served_site import ServedSite
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.config import ServingConfig
from tuneward.serving.foundation import Foundation
from tuneward.serving.router import Engine, Router
from tuneward.web.app import create_app
from tuneward.workflows.answer import Desk


class Door:
    """A gateway over a fake engine, both in this process, each on a port of its own."""

    def __init__(self, served, fake, desk, url):
        self.served, self.fake, self.desk, self.url = served, fake, desk, url
        self._before = 0

    @property
    def auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.served.key}"}

    def forget(self) -> None:
        """A test begins: what the engine saw and the log held before is not its matter."""
        self.fake.bodies.clear()
        self.fake.cancelled = 0
        self._before = len(self.served.events())

    def events(self, *actions: str) -> list:
        return [e for e in self.served.events(*actions) if e.seq >= self._before]


@pytest.fixture(scope="module")
def shared_door(tmp_path_factory):
    served = ServedSite.make(tmp_path_factory.mktemp("site"))
    served.deploy("claims", system="You write records.")
    served.deploy("plain")
    config = ServingConfig(max_tokens=600, max_body_bytes=20_000)
    root = served.office.site.artifacts.folder / "trees"
    fake = FakeEngine(name="base", key="k", adapters_root=root)
    with Running(fake.app) as engine, EngineClient(engine.url, "k") as client:
        router = Router(served.office.site, check=lambda deployment: [])
        router.start({Foundation(served.base): Engine(client, AsyncEngineClient(engine.url, "k"), "fp32")})
        desk = Desk(served.office, router=router, config=config)
        with Running(create_app(desk)) as web:
            yield Door(served, fake, desk, web.url)


@pytest.fixture
def door(shared_door):
    shared_door.forget()
    return shared_door
