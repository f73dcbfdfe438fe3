"""Screening: what the policy does with what inspection found in a record.

Place on the road: ``data.inspecting`` → here → ``data.overlap``. Each finding gets the action that the policy gives its
kind, and the record is kept, rewritten or left out. The texts go no further than this file: what is kept of a finding
is its kind, place, confidence, rule and view. Of what the policy allows only the number is kept.
"""

import json
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, Final

from tuneward.data.faults import Faults
from tuneward.data.finding_log import FindingLog, RowFinding
from tuneward.data.named_rows import NamedRows
from tuneward.data.parts import Part, with_texts
from tuneward.data.reading import compact_json
from tuneward.domain.finding import Action, Finding
from tuneward.domain.policy import Policy
from tuneward.domain.record import Record, Split
from tuneward.inspection.overlaps import clusters
from tuneward.inspection.pseudonyms import Pseudonyms
from tuneward.inspection.redaction import Rewriter, decide, strictest
from tuneward.inspection.repeats import with_repeats

_NAMES: Final = frozenset(("id", "type", "name"))


#: Actions after which what was found still stands in the row.
STAYS: Final = frozenset(("allow", "tag"))


@dataclass
class Screening:
    """Screens records one by one and remembers what was found.

    Attributes:
        policy: decides by kind of finding.
        faults: receives rows that the policy blocks.
        staying: kinds that were found in the last record and are left in it.
        pseudonyms: makes fakes for what the policy pseudonymises; without it there are placeholders.
        findings: everything found that the policy does not simply allow, in the order of the rows.
        allowed: kind → findings that the policy allows.
        dropped: rows left out, by split.
        blocked: kind → rows that the policy blocks.
    """

    policy: Policy
    faults: Faults
    pseudonyms: Pseudonyms | None = None
    findings: FindingLog = field(default_factory=FindingLog)
    allowed: Counter[str] = field(default_factory=Counter)
    staying: Set[str] = frozenset()
    dropped: dict[Split, NamedRows] = field(default_factory=lambda: {"train": NamedRows(), "test": NamedRows()})
    blocked: Counter[str] = field(default_factory=Counter)

    def screen(self, record: Record, parts: list[Part], found: list[list[Finding]]) -> Record | None:
        """Return the record as it may train, or None where the policy drops or blocks it.

        Args:
            record: the record as it was read.
            parts: its texts.
            found: what inspection found in each of them.
        """
        self.staying = {f.kind for in_part in found for f in in_part if self._action(f) in STAYS}
        if not any(found):
            return record
        found = with_repeats([part.text for part in parts], [self._ruled(in_part) for in_part in found])
        action = strictest(self._action(finding) for in_part in found for finding in in_part)
        source = str(record.source)
        self.findings.add(
            [
                RowFinding(record.id, record.split, source, part.name, finding, self._action(finding))
                for part, in_part in zip(parts, found, strict=True)
                for finding in in_part
            ]
        )
        if action == "block":
            kinds = sorted({f.kind for m in found for f in m if self._action(f) == "block"})
            self.blocked.update(kinds)
            cure = "take it out of the row, or change the policy's `on_finding`"
            message = f"policy `{self.policy.name}` blocks {', '.join(kinds)}"
            self.faults.add("TW-DATA-024", message, place=str(record.source), cure=cure)
            return None
        if action == "drop":
            self.dropped[record.split].add(record)
            return None
        if action in STAYS:
            return record
        texts = {part.name: self._rewrite(part, spans) for part, spans in zip(parts, found, strict=True) if spans}
        return with_texts(record, texts)

    def _action(self, finding: Finding) -> Action:
        return decide(finding.kind, self.policy.on_finding)

    def _ruled(self, findings: list[Finding]) -> list[Finding]:
        """Findings about which the policy says something; what it allows is counted and forgotten."""
        allowed = [finding for finding in findings if self._action(finding) == "allow"]
        self.allowed.update(finding.kind for finding in allowed)
        return [finding for finding in findings if self._action(finding) != "allow"] if allowed else findings

    def _rewrite(self, part: Part, findings: list[Finding]) -> str:
        rewriter = Rewriter(self.policy.on_finding, self.pseudonyms)
        chosen = rewriter.chosen(findings)
        if part.json and chosen:
            return _rewrite_values(part.text, chosen, rewriter)
        text = rewriter.rewrite(part.text, chosen)
        if part.answer and text != part.text and _is_json(part.text) and not _is_json(text):
            text = _rewrite_json(part.text, chosen, rewriter)
        return text

    def counts(self) -> dict[str, dict[str, int]]:
        """Kind → action → number of findings."""
        counted = {kind: Counter(actions) for kind, actions in self.findings.counts.items()}
        for kind, number in self.allowed.items():
            counted.setdefault(kind, Counter())["allow"] += number
        return {kind: dict(sorted(actions.items())) for kind, actions in sorted(counted.items())}


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _rewrite_json(text: str, findings: list[Finding], rewriter: Rewriter) -> str:
    """Rewrite JSON text where a finding is a bare number: what stands in for it takes quotes, so that it stays JSON."""
    rewritten = text
    for group in reversed(list(clusters(findings))):
        start, end = group[0].start, max(f.end for f in group)
        name = rewriter.stand_in(text, group)
        bare = text[:start].rstrip()[-1:] in {":", ",", "["} and text[end:].lstrip()[:1] in {",", "}", "]"}
        rewritten = rewritten[:start] + (f'"{name}"' if bare else name) + rewritten[end:]
    return rewritten


def _rewrite_values(text: str, findings: list[Finding], rewriter: Rewriter) -> str:
    """Rewrite JSON text so that it stays JSON: a value into which nothing fits is replaced as a whole."""
    values = {text[f.start : f.end]: rewriter.stand_in(text, [f]) for f in findings}
    longest_first = sorted(values, key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, bool | None):
            return value
        written = compact_json(value)
        body = written[1:-1] if isinstance(value, str) else written
        for found in longest_first:
            if found in body:
                body = body.replace(found, values[found]) if isinstance(value, str) else values[found]
        if body == (written[1:-1] if isinstance(value, str) else written):
            return value
        try:
            return json.loads(f'"{body}"')
        except ValueError:  # the value ended inside an escape
            return values[next(found for found in longest_first if found in written)]

    cleaned = clean(json.loads(text))
    if any(found in compact_json(cleaned) for found in longest_first):  # it spans several values
        cleaned = _blanked(cleaned, values[longest_first[0]])
    return compact_json(cleaned)


def _blanked(value: Any, mark: str) -> Any:
    """Every value replaced but those that say which function is meant."""
    if isinstance(value, dict):
        return {key: item if key in _NAMES else _blanked(item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [_blanked(item, mark) for item in value]
    return value if isinstance(value, bool | None) else mark
