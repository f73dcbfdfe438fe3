"""Fields: every text of a file as it was read, for whoever looks at files without a project.

Place on the road: beside it. ``tuneward inspect`` asks it for what an inspector sees in any file that the readers know.
Knows no prompt, no answer and no policy.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.readers import read
from tuneward.domain.finding import Finding
from tuneward.inspection.inspector import Inspector
from tuneward.inspection.overlaps import clusters
from tuneward.inspection.redaction import redact

#: Characters on either side that a context shows.
_AROUND: Final = 40
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.\-]{0,63}", re.ASCII)
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Seen:
    """A finding and where it is; never the text.

    Attributes:
        record: file and line, row or page.
        field: which value of the row: a column, or a path into it such as ``messages[0].content``.
        kind: what it is.
        start: first character of the span in the field as it was read.
        end: one past the last character.
        confidence: 0 to 1.
        rule: the detector's rule that matched.
        view: in which form of the text it was seen.
        context: the text around it with every finding redacted, where that was asked for.
    """

    record: str
    field: str
    kind: str
    start: int
    end: int
    confidence: float
    rule: str
    view: str
    context: str | None = None


def files_of(names: list[str], faults: Faults) -> Iterator[DataFile]:
    """The files that names mean; a folder stands for all files in it and below, but for hidden ones."""
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = [found for found in path.rglob("*") if found.is_file()]
            shown = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
            if not shown:
                faults.add("TW-DATA-005", "is a folder without files", place=name, cure="name files, or another folder")
            yield from (_file(found) for found in sorted(shown))
        elif path.exists():
            yield _file(path)
        else:
            faults.add("TW-DATA-001", "does not exist", place=name, cure="check the path")


def _file(path: Path) -> DataFile:
    return DataFile(path=path, name=path.as_posix(), digest="", bytes=0, split="train")


def seen_in(file: DataFile, inspector: Inspector, faults: Faults, *, contexts: bool = False) -> Iterator[Seen]:
    """Everything found in a file, row by row; what cannot be read becomes a fault."""
    for row in read(file, faults):
        for name, text in texts_of(row.values):
            findings = inspector.inspect(text)
            shown = _contexts(text, findings) if contexts else [None] * len(findings)
            for finding, context in zip(findings, shown, strict=True):
                yield Seen(
                    record=str(row.source),
                    field=name,
                    kind=finding.kind,
                    start=finding.start,
                    end=finding.end,
                    confidence=finding.confidence,
                    rule=finding.rule,
                    view=finding.view,
                    context=context,
                )


def texts_of(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and text of every text and number in a row, in its order.

    A key that is no plain word may itself be somebody's data: it is a text with the path ``…{N}``, and stands as
    ``{N}`` in the paths below it.
    """
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, str(value)
        elif isinstance(value, Mapping):
            inside: list[tuple[str, Any]] = []
            for place, (key, item) in enumerate(value.items()):
                plain = _PLAIN_KEY.fullmatch(str(key)) is not None
                if not plain:
                    inside.append((f"{name}{{{place}}}", str(key)))
                inside.append((f"{name}.{key}".lstrip(".") if plain else f"{name}{{{place}}}.value", item))
            waiting += reversed(inside)
        elif isinstance(value, list | tuple):
            waiting += reversed([(f"{name}[{place}]", item) for place, item in enumerate(value)])


def _contexts(text: str, findings: list[Finding]) -> list[str | None]:
    """For each finding the text around it, on one line, with everything found there redacted."""
    groups = list(clusters(findings))
    spans = [(group[0].start, max(finding.end for finding in group)) for group in groups]
    contexts: dict[Finding, str | None] = {}
    for place, (start, end) in enumerate(spans):
        first, last = max(0, start - _AROUND), min(len(text), end + _AROUND)
        near = [at for at in range(max(0, place - _AROUND), place + _AROUND + 1) if at < len(spans)]
        near = [at for at in near if spans[at][0] < last and spans[at][1] > first]
        first, last = min(first, spans[near[0]][0]), max(last, spans[near[-1]][1])
        inside = [replace(f, start=f.start - first, end=f.end - first) for at in near for f in groups[at]]
        shown = " ".join(redact(text[first:last], inside).split())
        contexts |= dict.fromkeys(groups[place], _UNPRINTED.sub("\ufffd", shown))
    return [contexts[finding] for finding in findings]
