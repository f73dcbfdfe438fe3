"""Makes sentence → record rows from the E2E restaurant data, which stay outside the project.

Place on the road: before the first command; the project's ``tuneward.yaml`` reads what this writes. The source is
``e2e/train.txt`` and ``e2e/test.txt`` in the folder that ``TUNEWARD_TEST_DATA`` (or ``--source``) names, one
``name : X | Type : Y | …||sentence`` a line. The same seed writes the same bytes.

Usage: ``python make_data.py [--source FOLDER] [--seed 7] [--out data] [--train 1500] [--test 200]``
"""

import argparse
import json
import os
import random
from pathlib import Path

#: The source's name of each slot → the record's key, in the record's order.
KEYS = {
    "name": "name",
    "Type": "eatType",
    "food": "food",
    "price": "priceRange",
    "customer rating": "customer rating",
    "area": "area",
    "family friendly": "familyFriendly",
    "near": "near",
}
Pair = tuple[str, str]


def read(path: Path) -> list[Pair]:
    """``(record as JSON, sentence)`` of every line; a slot that the line does not name is null."""
    pairs: list[Pair] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        meaning, bar, sentence = line.partition("||")
        parts = (part.partition(" : ") for part in meaning.split("|"))
        slots = {name.strip(): value.strip() for name, _, value in parts}
        unknown = set(slots) - set(KEYS)
        if not bar or not sentence.strip() or unknown:
            raise SystemExit(f"{path}:{number}: not of the form `name : X | Type : Y || sentence`")
        record = {key: slots.get(name) for name, key in KEYS.items()}
        pairs.append((json.dumps(record, ensure_ascii=False, separators=(",", ":")), sentence.strip()))
    return pairs


def sample(rng: random.Random, pairs: list[Pair], count: int) -> list[Pair]:
    """``count`` pairs with different sentences, in random order."""
    different = list({_plain(sentence): (record, sentence) for record, sentence in pairs}.values())
    if len(different) < count:
        raise SystemExit(f"only {len(different)} different sentences, {count} asked for")
    return rng.sample(different, count)


def _plain(sentence: str) -> str:
    return "".join(character for character in sentence.lower() if character.isalnum())


def main() -> None:
    """Read the options and write ``train.jsonl`` and ``test.jsonl``; no sentence and no record stands in both."""
    parser = argparse.ArgumentParser(description="Make the e2e example's data.")
    parser.add_argument("--source", type=Path, default=os.environ.get("TUNEWARD_TEST_DATA"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--test", type=int, default=200)
    options = parser.parse_args()
    if options.source is None:
        raise SystemExit("name the data folder: --source FOLDER or TUNEWARD_TEST_DATA")
    folder = Path(options.source) / "e2e"
    missing = [str(folder / name) for name in ("train.txt", "test.txt") if not (folder / name).is_file()]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}")
    rng = random.Random(f"e2e-{options.seed}")
    # The source's own train part holds one kind of restaurant, its test part others: both are drawn from together.
    pairs = read(folder / "train.txt") + read(folder / "test.txt")
    test = sample(rng, pairs, options.test)
    records, sentences = {record for record, _ in test}, {_plain(sentence) for _, sentence in test}
    apart = [pair for pair in pairs if pair[0] not in records and _plain(pair[1]) not in sentences]
    train = sample(rng, apart, options.train)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train.jsonl", train), ("test.jsonl", test)):
        lines = (json.dumps({"prompt": s, "answer": r}, ensure_ascii=False) + "\n" for r, s in rows)
        (options.out / name).write_bytes("".join(lines).encode("utf-8"))
    print(f"{len(train)} train and {len(test)} test rows in {options.out}")


if __name__ == "__main__":
    main()
