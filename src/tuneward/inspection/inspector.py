"""Inspector: one engine for rows, prompts and answers, built once from a site's settings.

Place on the road: ``data.screening`` asks it for every text of every row, ``tuneward inspect`` for every field of a
file. It joins the detectors that every site has, the site's own terms and patterns, and the views of a text. Knows no
policy: what happens to a finding is decided by whoever asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from tuneward.digests import digest_file
from tuneward.domain.finding import Finding
from tuneward.errors import ConfigError, Fault
from tuneward.inspection import detectors
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.detectors import Detector
from tuneward.inspection.disguises import is_plain, views_of
from tuneward.inspection.marks import find_marks
from tuneward.inspection.overlaps import resolve
from tuneward.inspection.patterns import make_pattern
from tuneward.inspection.recognizer import recognizer
from tuneward.inspection.segments import LONGEST_SPAN, SEGMENT, windows
from tuneward.inspection.terms import read_terms
from tuneward.inspection.views import MARGIN

_MARGINS: Final = (MARGIN, 16 * MARGIN, LONGEST_SPAN)


@dataclass(frozen=True)
class Inspector:
    """Finds what must not pass unseen.

    Law: time linear in the text, whatever it holds; the same text and settings give the same findings; the order of
    detectors does not matter; chunks of a text give what the whole gives.

    Attributes:
        own: detectors beside those that every site has, such as term lists and patterns.
        ner: one more detector, asked about the raw text alone; see :func:`inspection.recognizer.recognizer`.
        views: whether other forms of a text are read, too.
        minimum_confidence: findings below are passed over.
        segment: characters of a stretch of a long text.
    """

    own: tuple[Detector, ...] = ()
    ner: Detector | None = None
    views: bool = True
    minimum_confidence: float = 0.0
    segment: int = SEGMENT

    def inspect(self, text: str) -> list[Finding]:
        """Everything found in ``text``, by position; see :func:`inspection.overlaps.resolve` for what is told once."""
        return resolve(self._look(text)) if len(text) <= self.segment else self.inspect_chunks((text,))

    def inspect_chunks(self, chunks: Iterable[str]) -> list[Finding]:
        """Everything found in the text that ``chunks`` say together, whatever the chunks; spans count from its start.

        A finding longer than :data:`inspection.segments.LONGEST_SPAN` in a longer text may be told in parts.
        """
        found: list[Finding] = []
        for window in windows(chunks, segment=self.segment):
            for finding in self._look(window.text):
                start, end = finding.start + window.offset, finding.end + window.offset
                if end > window.start and (window.end is None or start < window.end):
                    found.append(replace(finding, start=start, end=end) if window.offset else finding)
        return resolve(found)

    def _look(self, text: str) -> list[Finding]:
        plain = is_plain(text)
        found = self._read(text, plain=plain, ner=self.ner)
        if self.views and not plain:
            found += self._through_views(text)
        return [finding for finding in found if finding.confidence >= self.minimum_confidence]

    def _read(self, text: str, *, plain: bool = False, ner: Detector | None = None) -> list[Finding]:
        found = detectors.inspect(text, ner=ner)
        if not plain:
            found += find_marks(text)
        for detector in self.own:
            found += detector(text)
        return found

    def _through_views(self, text: str) -> list[Finding]:
        """What only views show; with wider neighbourhoods where a finding ends at the end of one."""
        found: list[Finding] = []
        for margin in _MARGINS:
            found, is_cut = [], False
            for view in views_of(text, margin=margin):
                for finding in self._read(view.text):
                    if not view.shows(finding.start, finding.end):
                        continue
                    if view.is_cut(finding.start, finding.end):
                        is_cut = True
                        continue
                    start, end = view.span(finding.start, finding.end)
                    found.append(replace(finding, start=start, end=end, view=view.name))
            if not is_cut:
                break
        return found


@cache
def standard() -> Inspector:
    """The inspector of a site that has set nothing."""
    return Inspector()


def make_inspector(config: InspectionConfig, *, folder: Path) -> Inspector:
    """The inspector that settings ask for.

    Args:
        config: the project's ``inspection`` section.
        folder: the folder that names of term lists start from.

    Raises:
        ConfigError: every term list and pattern that cannot be used, all at once.
    """
    faults: list[Fault] = []
    own: list[Detector] = []
    for name, file in config.terms.items():
        terms = read_terms(folder / file, name=name, place=f"inspection.terms.{name}")
        if isinstance(terms, list):
            faults += terms
        else:
            own.append(terms)
    for name, expression in config.patterns.items():
        pattern = make_pattern(name, expression)
        if isinstance(pattern, Fault):
            faults.append(pattern)
        else:
            own.append(pattern)
    ner = None
    try:
        ner = recognizer(config.ner)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults)
    return Inspector(own=tuple(own), ner=ner, views=config.views, minimum_confidence=config.minimum_confidence)


def inspection_inputs(config: InspectionConfig, *, folder: Path) -> dict[str, object]:
    """All that findings depend on beside the text, for the digest of a dataset's inputs.

    Raises:
        ConfigError: a term list cannot be read.
    """
    digests: dict[str, str] = {}
    faults = []
    for name, file in config.terms.items():
        try:
            digests[name] = digest_file(folder / file)
        except OSError as error:
            message = f"`{file}` cannot be read: {error.strerror}"
            cure = "check the path; it is relative to the project's folder"
            faults.append(Fault("TW-INSP-001", message, f"inspection.terms.{name}", cure))
    if faults:
        raise ConfigError(faults)
    return {**config.canonical(), "terms": digests}
