import pytest

from tuneward.storage.site import Site


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("TUNEWARD_SITE", "TUNEWARD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(tmp_path):
    return Site.create(tmp_path / "project" / ".tuneward")
