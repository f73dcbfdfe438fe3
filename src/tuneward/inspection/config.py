"""Settings of the inspection: what is looked for beside what every site looks for.

Place on the road: the ``inspection`` section of ``tuneward.yaml``; read wherever texts are inspected. What happens to
a finding is the policy's business (``on_finding``).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tuneward.configuration import Section

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
FileName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*\S[^\x00]*$")]


class InspectionConfig(Section):
    """What is looked for in rows, prompts and answers, and how."""

    views: bool = True
    """Whether texts are also read as people read them and as they decode: characters that look like others, digits as
    words, characters set apart, base64, hexadecimal, URL escapes."""

    terms: dict[Name, FileName] = Field(default={})
    """Lists of the site's own terms: name → file with one term a line, relative to the project's folder. What a list
    finds is of kind ``term:<name>``."""

    patterns: dict[Name, Annotated[str, Field(min_length=1, max_length=10_000)]] = Field(default={})
    """Regular expressions of the site's own: name → expression in RE2's language. What one finds is of kind
    ``pattern:<name>``."""

    ner: Literal["none", "spacy"] = "none"
    """Whether names and places are also looked for by a small model (``spacy``: the extra ``ner``), in the raw text."""

    minimum_confidence: float = Field(default=0.0, ge=0.0, le=1.0)
    """Findings below this confidence are passed over."""
