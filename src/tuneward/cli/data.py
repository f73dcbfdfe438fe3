"""Commands on prepared rows: `show`, `lengths`, `prove`, `check-proof`; `data_sets` and `drafts` hang in theirs."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli import data_sets, drafts
from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.data.census import Census
from tuneward.data.row_proof import check_row_proof
from tuneward.domain.record import Message, Split
from tuneward.workflows.data import (
    LengthsResult,
    RowFilter,
    RowProven,
    RowsShown,
    ShownRow,
    measure_rows,
    prove_row,
    show_rows,
)
from tuneward.workflows.workspace import open_workspace

app = typer.Typer(help="Look at prepared rows.", no_args_is_help=True)
data_sets.add_to(app)
drafts.add_to(app)


#: Around what is learned, where no colour says it.
MARKS = ("⟦", "⟧")
_UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BAR = 40


@app.command("show")
def show_command(
    masks: Annotated[bool, typer.Option("--masks", help="Show rows as tokens, the learned ones marked.")] = False,
    split: Annotated[Split, typer.Option(help="`train`, or `test` for the rows held out.")] = "train",
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="How many rows.")] = 3,
    record: Annotated[str | None, typer.Option("--id", help="Only the row with this id, rec_….")] = None,
    finding: Annotated[str | None, typer.Option(help="Only rows in which this kind was found.", metavar="KIND")] = None,
    file: Annotated[str | None, typer.Option(help="Only rows of this file, as the project names it.")] = None,
    containing: Annotated[
        str | None, typer.Option(help="Only rows that hold these words, in any case; never logged.", metavar="WORDS")
    ] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Print rows of the current dataset as they are stored; with --masks, as the model reads and learns them."""

    def human(result: RowsShown) -> None:
        for row in result.rows:
            _print_row(row, masks=masks)
        kind = result.rows[0].split if result.rows else split
        such = "" if only == RowFilter() or record else "such "
        stdout.print(f"{len(result.rows):,} of {counted(result.of, f'{such}{kind} row')} of {result.dataset}")
        if masks:
            stdout.print(_legend())

    only = RowFilter(finding=finding, file=file, containing=containing or None)
    shown = show_rows(open_workspace(project), split=split, rows=rows, record=record, only=only)
    show(shown, human, as_json=as_json)


@app.command("lengths")
def lengths_command(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Count rows by length, and how many would not fit at shorter contexts; nothing is trained."""
    with progress_on_stderr() as progress:
        result = measure_rows(open_workspace(project), progress=progress)
    show(result, _print_lengths, as_json=as_json)


@app.command("prove")
def prove_command(
    record: Annotated[str, typer.Argument(metavar="ID", help="The row, rec_….")],
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Prove that the current dataset holds a row, without showing any other; with --json, the proof itself."""

    def human(value: RowProven) -> None:
        proof = value.proof
        stdout.print(
            f"row {proof['index'] + 1:,} of {proof['size']:,} of {proof['dataset']}: {len(proof['path'])} hashes lead "
            f"from its digest to the fingerprint\n{proof['fingerprint']}\nthe proof itself: --json"
        )

    show(prove_row(open_workspace(project), record), human, as_json=as_json)


@app.command("check-proof")
def check_proof_command(
    file: Annotated[Path, typer.Argument(help="The proof, as `data prove --json` printed it.")],
    fingerprint: Annotated[
        str | None, typer.Option(help="The fingerprint that is trusted, from a signed statement or an AIBOM.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a row's proof; needs no site, no project and no network."""
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        value = None
    proof = check_row_proof(value.get("proof", value) if isinstance(value, dict) else value, fingerprint=fingerprint)

    def human(value: RowProven) -> None:
        trusted = "" if fingerprint else "; compare the fingerprint with a signed one, or give it with --fingerprint"
        stdout.print(f"{proof.record} is row {proof.index + 1:,} of {proof.size:,} under {proof.fingerprint}{trusted}")

    show(RowProven(proof.to_json()), human, as_json=as_json)


def _print_row(row: ShownRow, *, masks: bool) -> None:
    share = f"{row.learned / row.tokens:.0%}" if row.tokens else "0%"
    said = [f"{row.tokens:,} tokens, {row.learned:,} learned ({share})", row.source]
    if row.desirable is not None:
        said.append("to learn" if row.desirable else "to unlearn")
    if row.margin is not None:
        said.append(f"margin {row.margin:g}")
    stdout.print(Text.assemble((row.id, "bold"), "  ", "  ".join(said)), soft_wrap=True)
    stdout.print(_masked(row) if masks else _messages(row), soft_wrap=True)
    stdout.print()


def _masked(row: ShownRow) -> Text:
    """The row's text with what is learned in colour, or between marks where there is no colour."""
    plain = not _coloured()
    text, branch, inside = Text(), "", False
    for piece in row.pieces:
        learned = piece.learned
        if plain and inside and (not learned or piece.branch != branch):
            text.append(MARKS[1])
            inside = False
        if piece.branch != branch:
            branch = piece.branch
            text.append(f"\n{branch} ▸ ", style="bold")
        if plain and learned and not inside:
            text.append(MARKS[0])
            inside = True
        style = ("bold green" if piece.control else "green") if learned else ("dim" if piece.control else "")
        text.append(printable(piece.text), style="" if plain else style)
    return text.append(MARKS[1]) if inside else text


def _messages(row: ShownRow) -> Text:
    text = Text()
    if row.tools:
        text.append("tools: ", style="bold").append(printable(row.tools) + "\n")
    named: list[tuple[str, Message]] = [(message.role, message) for message in row.messages]
    if row.rejected:
        named[-1:] = [("chosen", row.messages[-1]), ("rejected", row.rejected)]
    for name, message in named:
        text.append(f"{name}: ", style="bold").append(printable(message.content) + "\n")
        if message.tool_calls:
            text.append(f"{name} calls: ", style="bold").append(printable(message.tool_calls) + "\n")
    text.right_crop(1)
    return text


def _legend() -> Text:
    if _coloured():
        return Text.assemble("learned", style="green").append(
            " tokens are green, others as usual; control tokens bold or dim", style="default"
        )
    return Text(f"learned tokens stand between {MARKS[0]} and {MARKS[1]}")


def _coloured() -> bool:
    return stdout.color_system is not None and not stdout.no_color


def printable(text: str) -> str:
    """The text with signs for what would steer a terminal, or turn the direction of its writing."""
    return _UNPRINTED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _print_lengths(result: LengthsResult) -> None:
    for split, census in (("train", result.train), ("test", result.test)):
        if census is None:
            stdout.print(f"{split}: no rows\n")
        else:
            _print_census(split, census)
    stdout.print(
        f"the base takes {result.context_tokens:,} tokens; longer rows: `{result.too_long}` (data.too_long), and none "
        "is ever cut silently"
    )


def _print_census(split: str, census: Census) -> None:
    stdout.print(
        f"{split}: {counted(census.rows, 'row')}, {counted(census.tokens, 'token')}, {census.learned:,} learned "
        f"({census.learned_share:.1%}); shortest {census.shortest:,}, mean {census.mean:,.0f}, "
        f"longest {census.longest:,}"
    )
    stdout.print(
        "percentiles  " + "   ".join(f"{per_cent}%: {tokens:,}" for per_cent, tokens in census.percentiles.items())
    )
    most = max(entry.rows for entry in census.histogram)
    stdout.print(f"{'tokens':>21} {'rows':>8}", style="bold")
    for entry in census.histogram:
        bar = "█" * round(_BAR * entry.rows / most) or ("▏" if entry.rows else "")
        stdout.print(f"{entry.start:>9,} – {entry.end - 1:>9,} {entry.rows:>8,} {bar}".rstrip())
    rows = table("", "at a context of", "rows that do not fit", "share", "tokens beyond")
    for cut in census.cuts:
        rows.add_row(f"{cut.length:,}", f"{cut.rows:,}", f"{cut.rows / census.rows:.1%}", f"{cut.tokens:,}")
    stdout.print(rows)
    stdout.print()
