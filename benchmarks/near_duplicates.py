"""Near-duplicates: precision, recall and rows per second over 100,000 rows of mixed chat, against two others.

    python -m benchmarks.near_duplicates [--rows 100000] [--tune] [--only ours|datasketch|text-dedup]

Rows and planted pairs: ``benchmarks.mixed_chat``. Thresholds were chosen with ``--tune`` (another seed, other edits);
the figures reported are of the other half. A found pair is two rows in one cluster; clusters are formed from what each
side finds in the same way. datasketch (extra ``peers``) is given the same texts in normal form and the same shingles,
128 permutations, its own best use: signatures in one call per text, ``MinHashLSH`` tuned to the threshold by itself,
asked before each insertion; its candidates count as they come, and a second line checks them by its estimate. Its rows
per second are those of the first ``--theirs`` rows, which flatters it: its tables are smaller then.

text-dedup 0.4.0 is no extra, since it asks for older versions of what others need: ``pip install text-dedup==0.4.0``
into a venv of its own that sees this package. Its MinHash command runs over the same rows in one process, with 128
permutations and xxh3: once with the same runs of six characters, given to it as words of one letter, and once with
words as it comes, in runs of two, since runs of five find little in short texts. It bands by the threshold and checks
nothing.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.mixed_chat import REPORTED, TUNED, Planted, parts_of, plant
from tuneward.evaluation.intervals import wilson
from tuneward.inspection.clusters import Union
from tuneward.inspection.near_duplicates import Likeness, NearDuplicates
from tuneward.inspection.normal_form import normal_form
from tuneward.settings import Settings

Pair = tuple[int, int]
SEEDS = {"tuned": 1, "reported": 2}


def ours(rows: list[str]) -> tuple[list[int], float]:
    """First row of each row's cluster, and the seconds taken."""
    started = time.perf_counter()
    index, folded = NearDuplicates(), list[str]()
    for row in rows:
        text = normal_form(row)
        folded.append(text)
        index.add(text)
    clusters = index.clusters(folded.__getitem__)
    return clusters.first.tolist(), time.perf_counter() - started


def datasketch(rows: list[str], *, checked: bool) -> tuple[list[int], float]:
    """The same of datasketch; ``checked`` asks for its estimate of a candidate's similarity, too."""
    from datasketch import MinHash, MinHashLSH

    started = time.perf_counter()
    like = Likeness()
    width, least = like.shingling.width, like.jaccard
    index, known = MinHashLSH(threshold=least, num_perm=128), dict[int, MinHash]()
    empty = MinHash(num_perm=128, seed=1)
    ones, others = list[int](), list[int]()
    for position, row in enumerate(rows):
        text = _words_only(normal_form(row))
        pieces = {text[i : i + width].encode() for i in range(max(1, len(text) - width + 1))}
        signature = empty.copy()
        signature.update_batch(pieces)
        for earlier in index.query(signature):
            if not checked or signature.jaccard(known[earlier]) >= least:
                ones.append(position)
                others.append(earlier)
        index.insert(position, signature)
        known[position] = signature
    union = Union(len(rows))
    union.join(np.array(ones, dtype=np.int64), np.array(others, dtype=np.int64))
    return union.roots.tolist(), time.perf_counter() - started


def text_dedup(rows: list[str], *, characters: bool) -> tuple[list[int], float]:
    """The same of text-dedup's MinHash command, without the time that reading and writing its files takes."""
    from datasets import Dataset, disable_progress_bars
    from text_dedup import minhash
    from text_dedup.utils import IOArgs, MetaArgs, MinHashArgs

    disable_progress_bars()
    logging.getLogger("text_dedup").setLevel(logging.ERROR)
    texts = [_words_only(normal_form(row)) for row in rows]
    if characters:
        texts = [" ".join(text.replace(" ", "_")) for text in texts]
    like = Likeness()
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_dict({"text": texts}).save_to_disk(f"{folder}/in")
        sizes = MinHashArgs(
            ngram=like.shingling.width if characters else 2,
            min_length=1,
            num_perm=128,
            threshold=like.jaccard if characters else 0.45,
            hash_func="xxh3",
        )
        started = time.perf_counter()
        minhash.main.callback(
            io_args=IOArgs(path=f"{folder}/in", output=f"{folder}/out", local=True, num_proc=1),
            meta_args=MetaArgs(column="text"),
            minhash_args=sizes,
        )
        seconds = time.perf_counter() - started
    return [minhash.uf.find(position) for position in range(len(rows))], seconds


def _words_only(text: str) -> str:
    return " ".join("".join(character if character.isalnum() else " " for character in text).split())


def pairs_of(groups: list[int]) -> Iterator[Pair]:
    """Every two positions of one group."""
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        for earlier in members.setdefault(group, []):
            yield earlier, position
        members[group].append(position)


def told(name: str, planted: Planted, first: list[int], seconds: float) -> float:
    """Print precision, recall and rows per second; returns the latter."""
    wanted, found = set(pairs_of(planted.groups[: len(first)])), set(pairs_of(first))
    hits = len(wanted & found)
    for what, count, of in (("precision", hits, len(found)), ("recall", hits, len(wanted))):
        low, high = wilson(count, of)
        print(f"{name:22} {what:9} {count / of:.4f} [{low:.4f}, {high:.4f}], n = {of:,}")
    print(f"{name:22} rows/s    {len(first) / seconds:,.0f} ({len(first):,} rows in {seconds:.1f} s)", flush=True)
    if hits < len(wanted):
        print(f"{name:22} missed by edit: {_by_edit(planted, wanted - found, wanted)}", flush=True)
    return len(first) / seconds


def _by_edit(planted: Planted, missed: set[Pair], wanted: set[Pair]) -> str:
    named = []
    for edit in sorted(set(planted.edits) - {""}):
        of = [pair for pair in wanted if {planted.edits[row] for row in pair} == {"", edit}]
        left = len(missed.intersection(of))
        if left:
            named.append(f"{edit} {left} of {len(of):,}")
    return ", ".join(named) or "pairs of two copies only"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--theirs", type=int, default=20_000, help="rows that datasketch is given")
    parser.add_argument("--tune", action="store_true", help="the half on which thresholds were chosen")
    parser.add_argument("--only", choices=("ours", "datasketch", "text-dedup"))
    options = parser.parse_args()
    data = Settings.from_environment().test_data
    if data is None:
        raise SystemExit("TUNEWARD_TEST_DATA names no folder with hh-rlhf, clinc150, gsm8k, mts-dialog, e2e, sms-spam")
    rates = compare(data, rows=options.rows, theirs=options.theirs, tune=options.tune, only=options.only)
    for peer in [name for name in ("text-dedup", "datasketch") if name in rates and "ours" in rates]:
        print(f"rows/s against {peer}: {rates['ours'] / rates[peer]:.1f}")


def compare(data: Path, *, rows: int, theirs: int, tune: bool = False, only: str | None = None) -> dict[str, float]:
    """Run it; returns rows per second of each side."""
    half, edits = ("tuned", TUNED) if tune else ("reported", REPORTED)
    planted = plant(parts_of(data), count=rows, seed=SEEDS[half], edits=edits)
    characters = sum(map(len, planted.rows)) / rows
    print(f"{rows:,} rows, {characters:.0f} characters each, edits: {', '.join(sorted(edits))}", flush=True)
    rates = {}
    if only in (None, "ours"):
        rates["ours"] = told("ours", planted, *ours(planted.rows))
    if only in (None, "datasketch"):
        part = planted.rows[:theirs]
        rates["datasketch"] = told("datasketch", planted, *datasketch(part, checked=False))
        told("datasketch, estimates", planted, *datasketch(part, checked=True))
    if only in (None, "text-dedup") and find_spec("text_dedup"):
        part = planted.rows[:theirs]
        for name, characters in (("text-dedup", True), ("text-dedup, words", False)):
            rates[name] = told(name, planted, *text_dedup(part, characters=characters))
    return rates


if __name__ == "__main__":
    main()
