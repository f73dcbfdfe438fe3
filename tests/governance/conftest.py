import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tuneward.governance import members
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.governance.policies import load_policy
from tuneward.storage.site import Site


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("TUNEWARD_SITE", "TUNEWARD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A new site with keys, owned by Ann; made once, copied for each test."""
    site = Site.create(tmp_path_factory.mktemp("template") / ".tuneward")
    members.found(Office(site=site, keys=Keys.create(site.keys_folder), actor="ann", policy=load_policy("solo")))
    site.database.close()
    return site.folder


@pytest.fixture
def solo(template, tmp_path):
    """Ann's office on a site of its own under policy solo; she is its owner."""
    site = Site.open(Path(shutil.copytree(template, tmp_path / ".tuneward")))
    return Office(site=site, keys=Keys.open(site.keys_folder), actor="ann", policy=load_policy("solo"))


@pytest.fixture
def team(solo):
    """The same site under policy team, with a member for every role: name → office."""
    offices = {"ann": replace(solo, policy=load_policy("team"))}
    for name, role in [("eve", "engineer"), ("abe", "approver"), ("ole", "operator"), ("aud", "auditor")]:
        members.add(offices["ann"], name, (role,))
        offices[name] = replace(offices["ann"], actor=name)
    return offices
