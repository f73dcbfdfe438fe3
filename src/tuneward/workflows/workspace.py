"""Workspace: a project, the site that keeps its records, and who is acting.

Place on the road: opened by every door, handed to every workflow. It reads; it changes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from tuneward.errors import ConfigError, Fault
from tuneward.governance.change import Office
from tuneward.governance.keys import Keys
from tuneward.governance.policies import BUILT_IN, load_policy
from tuneward.settings import Settings
from tuneward.storage.site import Site
from tuneward.workflows.project import PROJECT_FILE, Project, load_project


@dataclass(frozen=True)
class Workspace:
    """What a workflow works on.

    Attributes:
        folder: the project's folder; relative paths of its settings start here.
        project: its settings.
        office: site, keys, actor and policy.
    """

    folder: Path
    project: Project
    office: Office

    @property
    def site(self) -> Site:
        """The site that keeps the project's records."""
        return self.office.site

    @property
    def alias(self) -> str:
        """The name under which the project is served."""
        return self.project.serving.alias or self.project.project


def open_workspace(folder: Path, *, actor: str | None = None) -> Workspace:
    """Open the project in ``folder`` and the site above it.

    Args:
        folder: the project's folder.
        actor: who acts; the process's settings say it when None.

    Raises:
        ConfigError: ``tuneward.yaml`` is missing or wrong (all faults).
        StorageError: there is no site, or it cannot be opened.
    """
    folder = folder.resolve()
    if not (folder / PROJECT_FILE).is_file():
        raise ConfigError(
            Fault(
                "TW-CONF-001",
                f"{PROJECT_FILE} was not found",
                str(folder),
                "run `tuneward init` here, or name the project's folder with `--project`",
            )
        )
    project = load_project(folder)
    return Workspace(folder=folder, project=project, office=open_office(folder, policy=project.policy, actor=actor))


def open_office(folder: Path, *, policy: str = "solo", actor: str | None = None) -> Office:
    """Open the site at or above ``folder`` for an actor, under a policy (a built-in's name or a file in ``folder``).

    Raises:
        StorageError: there is no site, or it cannot be opened.
        ConfigError: the policy is unknown or faulty.
    """
    site = Site.open(find_site(folder))
    return Office(
        site=site,
        keys=Keys.open(site.keys_folder),
        actor=actor or Settings.from_environment().actor,
        policy=load_policy(str(folder / policy) if policy not in BUILT_IN and _is_file(folder / policy) else policy),
    )


def governing_office(folder: Path, *, actor: str | None = None) -> Office:
    """The office for what is governed but belongs to no step: under the policy of the project in ``folder``.

    Where no project is, ``solo`` holds. Whoever only reads takes :func:`open_office`, which needs no sound project.

    Raises:
        ConfigError: ``tuneward.yaml`` or the policy is wrong.
        StorageError: there is no site, or it cannot be opened.
    """
    policy = load_project(folder).policy if _is_file(folder / PROJECT_FILE) else "solo"
    return open_office(folder, policy=policy, actor=actor)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False


def find_site(folder: Path) -> Path:
    """The folder of the site at or above ``folder``; where it would be made when there is none."""
    return Site.find(folder) or folder / ".tuneward"
