"""Step 0: make a site (database, artefact store, keys) and a project with its ``tuneward.yaml``."""

import re
from dataclasses import dataclass
from pathlib import Path

from tuneward.domain.policy import Member
from tuneward.errors import ConfigError, Fault
from tuneward.governance.change import Office
from tuneward.governance.keys import Keys
from tuneward.governance.members import found
from tuneward.governance.policies import load_policy
from tuneward.settings import Settings
from tuneward.storage.files import write_atomically
from tuneward.storage.repository import find
from tuneward.storage.site import Site
from tuneward.workflows.project import PROJECT_FILE

TEMPLATE = Path(__file__).with_name("project-template.yaml")


@dataclass(frozen=True)
class InitResult:
    """What ``init`` made.

    Attributes:
        folder: the project's folder.
        site: the site's folder.
        created: what is new: ``site``, ``project``, or both; empty when all was there.
        next: the command that comes next.
    """

    folder: str
    site: str
    created: tuple[str, ...]
    next: str


def init(folder: Path, *, name: str | None = None, actor: str | None = None) -> InitResult:
    """Make what is missing; touch nothing that is there.

    Args:
        folder: the project's folder; made when missing.
        name: the project's name; the folder's name when None.
        actor: the site's first member, its owner; the process's settings say who when None.

    Raises:
        ConfigError: ``folder`` is a file, or gives no usable name.
        StorageError: the site cannot be made, or another process is making it.
        GovernanceError: ``actor`` is no name under which anybody can act.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(Fault("TW-CONF-007", "this is a file, not a folder", str(folder), "name a folder"))
    project = re.sub(r"[^a-z0-9-]+", "-", (name or folder.name).lower()).strip("-")
    if not project:
        raise ConfigError(Fault("TW-CONF-007", "the folder's name gives no project name", str(folder), "give --name"))
    folder.mkdir(parents=True, exist_ok=True)
    created: list[str] = []
    site_folder = Site.find(folder)
    if site_folder is None or not (site_folder / "site.json").is_file():
        site_folder = site_folder or folder / ".tuneward"
        _found(Site.create(site_folder), actor)
        created.append("site")
    elif not _founded(site := Site.open(site_folder)):  # an earlier init was stopped halfway
        _found(site, actor)
        created.append("site")
    if not (folder / PROJECT_FILE).exists():
        text = TEMPLATE.read_text(encoding="utf-8").replace("PROJECT_NAME", project[:63])
        write_atomically(folder / PROJECT_FILE, text.encode())
        created.append("project")
    follows = f"edit {PROJECT_FILE}, then tuneward run" if "project" in created else "tuneward status"
    return InitResult(folder=str(folder), site=str(site_folder), created=tuple(created), next=follows)


def _founded(site: Site) -> bool:
    """Whether somebody may act on the site."""
    with site.database.read() as c:
        return bool(find(c, Member))


def _found(site: Site, actor: str | None) -> None:
    """Make keys, unless they are there, and the first member; one process at a time, so that the keys fit together."""
    with site.lock("init"):
        if _founded(site):
            return
        made = (site.keys_folder / "signing.pem").exists()
        keys = Keys.open(site.keys_folder) if made else Keys.create(site.keys_folder)
        actor = actor or Settings.from_environment().actor
        found(Office(site=site, keys=keys, actor=actor, policy=load_policy("solo")))
