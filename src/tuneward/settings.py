"""Settings of the process: environment variables, and the switch that keeps every library silent.

Place on the road: the first lines of every door (``cli``, ``web``, ``python -m …``). Project settings are not here;
they stand in ``tuneward.yaml``.
"""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

#: Everything a library reads before it phones home, and the value that stops it. A test asserts each.
SILENCE: dict[str, str] = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_DISABLED": "true",
    "ANONYMIZED_TELEMETRY": "False",
}


def silence() -> None:
    """Switch off telemetry and implicit network access of every library; call before importing any of them."""
    os.environ.update(SILENCE)


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes:
        site: ``TUNEWARD_SITE``, the site's folder, or None to look for ``.tuneward`` upwards from the project.
        database_url: ``TUNEWARD_DATABASE_URL``, or None for SQLite in the site's folder.
        actor: ``TUNEWARD_ACTOR``, else the operating system's user (``uid-1000`` where it has no name).
        test_data: ``TUNEWARD_TEST_DATA``, the optional folder with real data for tests and benchmarks, or None.
    """

    site: Path | None
    database_url: str | None
    actor: str
    test_data: Path | None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the variables once."""
        site, data = os.environ.get("TUNEWARD_SITE"), os.environ.get("TUNEWARD_TEST_DATA")
        return cls(
            site=_expanded(site) if site else None,
            database_url=os.environ.get("TUNEWARD_DATABASE_URL") or None,
            actor=os.environ.get("TUNEWARD_ACTOR") or _user(),
            test_data=_expanded(data) if data else None,
        )


def _user() -> str:
    """The operating system's user; containers may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~nobody`: a name like any other
        return Path(path)
