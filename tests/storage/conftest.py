import shutil
from pathlib import Path

import pytest

from tuneward.storage.site import Site


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("TUNEWARD_SITE", "TUNEWARD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A new site, made once, copied for each test."""
    site = Site.create(tmp_path_factory.mktemp("template") / ".tuneward")
    site.database.close()
    return site.folder


@pytest.fixture
def site(template, tmp_path):
    return Site.open(Path(shutil.copytree(template, tmp_path / "project" / ".tuneward")))
