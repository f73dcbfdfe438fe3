"""Commands on prepared rows as a whole: `data stats`, `data findings`, `data diff`, `data export`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, short, show, stdout, table
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.data.export import Format
from tuneward.domain.finding import Action
from tuneward.domain.record import Split
from tuneward.workflows.data_diff import DiffResult, ValueChange, data_diff
from tuneward.workflows.data_export import DataExportResult, data_export
from tuneward.workflows.data_findings import FindingsResult, data_findings
from tuneward.workflows.data_stats import SplitStats, StatsResult, data_stats
from tuneward.workflows.workspace import open_workspace


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the group `data`."""
    app.command("stats")(stats_command)
    app.command("findings")(findings_command)
    app.command("diff")(diff_command)
    app.command("export")(export_command)


def stats_command(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Count the rows of the current dataset: from which files, of what kind, how long, about how many people."""
    with progress_on_stderr() as progress:
        result = data_stats(open_workspace(project), progress=progress)
    show(result, _print_stats, as_json=as_json)


def findings_command(
    kind: Annotated[str | None, typer.Option(help="Only this kind of finding.")] = None,
    file: Annotated[str | None, typer.Option(help="Only rows of this file, as the project names it.")] = None,
    action: Annotated[Action | None, typer.Option(help="Only what the policy met so.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many places are named.")] = 20,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Count what inspection found in the current dataset, and name the places; never the text."""
    result = data_findings(open_workspace(project), kind=kind, file=file, action=action, limit=limit)
    show(result, _print_findings, as_json=as_json)


def diff_command(
    before: Annotated[str | None, typer.Argument(metavar="A", help="A dataset, dat_…; else the last but one.")] = None,
    after: Annotated[str | None, typer.Argument(metavar="B", help="A dataset, dat_…; else the last one.")] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Compare two datasets: rows that came, left, changed or moved, and what of settings, files and counts differs."""
    show(data_diff(open_workspace(project), before, after), _print_diff, as_json=as_json)


def export_command(
    to: Annotated[Path, typer.Argument(metavar="TO", help="The file; its end says the format.")],
    format: Annotated[
        Format | None, typer.Option(help="`jsonl`, `parquet` or `csv`, whatever the file's name.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Only these rows.", show_default="both")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Write the prepared rows into a file outside the site, in chat form; the log says who did."""
    with progress_on_stderr() as progress:
        result = data_export(open_workspace(project), to, format=format, split=split, force=force, progress=progress)
    show(result, _print_exported, as_json=as_json)


def _print_stats(result: StatsResult) -> None:
    files = table(f"files of {result.dataset}", "file", "split", "rows", "MiB", "sha256", "what was taken")
    for file in result.files:
        size = f"{file.bytes / 2**20:,.1f}"
        files.add_row(file.name, file.split, f"{file.rows:,}", size, short(file.sha256), file.columns)
    stdout.print(files)
    stdout.print()
    for name, split in (("train", result.train), ("test", result.test)):
        _print_split(name, split)


def _print_split(name: str, split: SplitStats) -> None:
    found = split.statistics
    if found.lengths is None:
        stdout.print(f"{name}: no rows")
        return
    forms = ", ".join(f"{count:,} {form}" for form, count in found.forms.items())
    stdout.print(
        f"{name}: {counted(found.rows, 'row')} ({forms}); {counted(split.tokens, 'token')}, {split.answer_tokens:,} in "
        "answers; "
        f"{found.characters:,} characters, {found.answer_characters:,} in answers"
    )
    lengths = found.lengths
    percentiles = "   ".join(f"{per_cent}%: {size:,}" for per_cent, size in lengths.percentiles.items())
    stdout.print(
        f"  characters of a row: shortest {lengths.shortest:,}, mean {lengths.mean:,.0f}, longest {lengths.longest:,}"
        f"   {percentiles}"
    )
    stdout.print("  messages: " + ", ".join(f"{count:,} {role}" for role, count in found.turns.items()))
    if found.with_tools or found.with_calls:
        listing = counted(found.with_tools, "row lists some", "rows list some")
        stdout.print(f"  tools: {listing}, {found.with_calls:,} call one")
    if split.languages:
        stdout.print("  languages: " + ", ".join(f"{rows:,} {name}" for name, rows in split.languages.items()))
    stdout.print(
        f"  data subjects: {found.subjects:,}; {counted(found.without_subject, 'row names nobody', 'rows name nobody')}"
    )


def _print_findings(result: FindingsResult) -> None:
    counts = table("", "kind", "rule", "action", "findings", "rows")
    for count in result.counts:
        counts.add_row(count.kind, count.rule, count.action, f"{count.findings:,}", f"{count.rows:,}")
    stdout.print(counts)
    for place in result.places:
        where = f"{place.field} {place.start}\N{EN DASH}{place.end}"
        line = f"{place.source}  {where}  {place.kind}  {place.confidence:.2f}  {place.rule}  {place.action}"
        stdout.print(Text(line), soft_wrap=True)
    stdout.print(
        f"{counted(result.of, 'finding')} in {counted(result.rows, 'row')} of {result.dataset}, "
        f"{len(result.places):,} of them named"
    )


def _print_diff(result: DiffResult) -> None:
    rows = result.rows
    stdout.print(f"{result.before} → {result.after}{': the same rows' if result.identical else ''}")
    stdout.print(
        f"{counted(rows.same, 'row')} the same, {rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} "
        f"changed at their place, {rows.moved:,} moved to the other split"
    )
    if rows.reassigned:
        whose = counted(rows.reassigned, "of the same rows has", "of the same rows have")
        stdout.print(f"{whose} another data subject than before, or one where there was none, or none any more")
    for row in rows.rows:
        stdout.print(f"  {row.kind:<10} {row.split:<5} {row.source}  {row.record}", soft_wrap=True)
    _print_changes("settings, policy, files and base", result.settings)
    _print_changes("counts", result.counts)


def _print_changes(title: str, changes: tuple[ValueChange, ...]) -> None:
    if not changes:
        stdout.print(f"{title}: nothing differs")
        return
    made = table(title, "", "before", "after")
    for change in changes:
        made.add_row(change.name, *("–" if value is None else str(value) for value in (change.before, change.after)))
    stdout.print(made)


def _print_exported(result: DataExportResult) -> None:
    stdout.print(f"{counted(result.rows, 'row')} of {result.dataset} as {result.format}, sha256 {short(result.sha256)}")
    stdout.print(f"file {result.file}", soft_wrap=True)
