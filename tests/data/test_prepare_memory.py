"""Memory: what each further row costs stays far below what it holds."""

import json
import random
import subprocess
import sys
from pathlib import Path

#: Bytes that a further row may take, of about 700 that its line holds; as an object it took three times that.
MOST = 800
FEW, MANY = 3_000, 8_000
SCRIPT = """
import sys, tracemalloc
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from data_cases import prepare
tracemalloc.start()
prepared = prepare(Path(sys.argv[1]), subject="who", legal_basis="contract", tokens=10**6)
prepared.write(Path(sys.argv[1]) / "out")
assert len(prepared.train) > 0.9 * int(sys.argv[3])
print(tracemalloc.get_traced_memory()[1])
"""


def peak(folder: Path, rows: int) -> int:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(4000)]
    folder.mkdir()
    with (folder / "train.jsonl").open("w", encoding="utf-8") as handle:
        for number in range(rows):
            prompt = f"{' '.join(draw.choices(words, k=25))} a{number}@example.org"
            value = {"prompt": prompt, "answer": " ".join(draw.choices(words, k=25)), "who": f"c{number}"}
            handle.write(json.dumps(value) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(Path(__file__).parent), str(rows)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_further_row_costs_little_memory(tmp_path):
    few, many = peak(tmp_path / "few", FEW), peak(tmp_path / "many", MANY)
    assert (many - few) / (MANY - FEW) < MOST
