"""Makes the example's data: claim mails and their triage records, with everything in them that real data have.

Place on the road: before the first command; the project's ``tuneward.yaml`` reads what this writes. The same seed
writes the same bytes. What was planted on purpose is listed in ``planted.json``.

Usage: ``python make_data.py [--seed 7] [--out data] [--train 800] [--test 200]``
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faults
import people
from faults import Row, compact
from mails import Writer

DUPLICATES = NEAR_DUPLICATES = 12
CONTRADICTIONS = 5
LEAKS = 2
#: How many train mails carry which identifier besides the usual headers and signatures.
IDENTIFIERS = {"iban": 9, "iban_near_miss": 4, "card": 6, "card_near_miss": 4, "email": 8, "phone": 8, "api_key": 1}


def to_line(row: Row) -> str:
    """The row as it stands in its file."""
    mail = row.mail
    values = {
        "customer_id": mail.customer.id,
        "prompt": mail.prompt,
        "answer": compact(row.answer) if row.text is None else row.text,
        "received": mail.received.isoformat(timespec="minutes"),
        **row.more,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def write_mails(rng: random.Random, count: int, *, first_customer: int, planted: list[str]) -> list[Row]:
    """``count`` rows; a third of the customers write more than once. ``planted`` names identifiers to put into them."""
    customers: list[people.Customer] = []
    rows: list[Row] = []
    seen: set[str] = set()
    while len(rows) < count:
        if not customers or rng.random() < 0.7:
            customers.append(people.customer(rng, f"C-{first_customer + len(customers) * 3 + rng.randint(0, 2)}"))
        customer = rng.choice(customers[-40:])
        extra = ()
        if len(rows) < len(planted):
            extra = ((planted[len(rows)], _identifier(rng, planted[len(rows)], customer)),)
        mail = Writer(rng, customer, extra).write()
        if mail.prompt not in seen:
            seen.add(mail.prompt)
            rows.append(Row(mail, dict(mail.answer)))
    return rows


def _identifier(rng: random.Random, kind: str, customer: people.Customer) -> str:
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    makers: dict[str, Callable[[], str]] = {
        "iban": lambda: people.in_groups(rng, people.iban(rng, customer.region)),
        "iban_near_miss": lambda: people.in_groups(rng, people.spoil(rng, people.iban(rng, customer.region))),
        "card": lambda: people.in_groups(rng, people.card(rng)),
        "card_near_miss": lambda: people.in_groups(rng, people.spoil(rng, people.card(rng))),
        "email": lambda: customer.mailbox,
        "phone": lambda: customer.phone or f"07700 900{rng.randint(0, 999):03}",
        "api_key": lambda: "sk_" + "live_" + "".join(rng.choice(letters) for _ in range(24)),
    }
    return makers[kind]()


def _nearly(rng: random.Random, prompt: str) -> str:
    """The same mail sent again: a word more or less, a mistake, another spacing."""
    words = prompt.split(" ")
    places = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha() and word.islower()]
    for place in rng.sample(places, k=min(2, len(places))):
        words[place] = people.mistype(rng, words[place])
    text = " ".join(words)
    return rng.choice([text + "\n(sent again)", text.replace(". ", ".  ", 1), text + " Thanks again."])


def _contradicted(rng: random.Random, answer: dict[str, Any]) -> dict[str, Any]:
    """Another clerk's record of the same mail."""
    severities = [s for s in ("low", "medium", "high") if s != answer["severity"]]
    return {**answer, "severity": rng.choice(severities), "needs_human": not answer["needs_human"]}


def make(seed: int, *, train: int, test: int) -> dict[str, list[Row]]:
    """The rows of each file in their final order, marks set; ``train`` counts the agency's rows that stay, too."""
    rng = random.Random(f"claims-{seed}")
    planted = [kind for kind, count in IDENTIFIERS.items() for _ in range(count)]
    copies = DUPLICATES + NEAR_DUPLICATES + CONTRADICTIONS + LEAKS
    if train < len(planted) + 2 * copies or test < 2 * LEAKS:
        raise SystemExit(f"--train must be at least {len(planted) + 2 * copies}, --test at least {2 * LEAKS}")
    rows = write_mails(rng, train - copies, first_customer=10_000, planted=planted)
    held_out = write_mails(random.Random(f"claims-{seed}-test"), test, first_customer=50_000, planted=[])
    originals = rng.sample(rows[len(planted) :], k=copies - LEAKS)
    for number, original in enumerate(originals):
        if number < DUPLICATES:
            kind, copy = "duplicate", Row(original.mail, original.answer)
        elif number < DUPLICATES + NEAR_DUPLICATES:
            mail = replace(original.mail, prompt=_nearly(rng, original.mail.prompt))
            kind, copy = "near_duplicate", Row(mail, original.answer)
        else:
            kind, copy = "contradiction", Row(original.mail, _contradicted(rng, original.answer))
        copy.marks.append({"kind": kind, "of": original})
        rows.append(copy)
    for original in rng.sample(held_out, k=LEAKS):
        rows.append(Row(original.mail, original.answer, marks=[{"kind": "also_in_test", "of": original}]))
    rng.shuffle(rows)
    copied = {id(mark["of"]) for row in rows for mark in row.marks}
    staying = [row for row in rows if not (row.marks or row.mail.planted or id(row) in copied)]
    staying = staying[-faults.WITHDRAWN :]
    own = [row for row in rows if not any(row is other for other in staying)]
    faults.disguise(own)
    aside = random.Random(f"claims-{seed}-agency")
    spoilt = write_mails(aside, sum(faults.AGENCY.values()), first_customer=faults.AGENCY_FIRST_CUSTOMER, planted=[])
    agency = faults.agency_rows(aside, [row.mail for row in spoilt], staying)
    return {"train.jsonl": own, "agency.jsonl": agency, "test.jsonl": held_out}


def plan(files: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """Every plant as ``{file, line, kind, …}``, lines 1-based, offsets in characters of the column."""
    place = {id(row): (name, line) for name, rows in files.items() for line, row in enumerate(rows, start=1)}
    plants = []
    for name, rows in files.items():
        for line, row in enumerate(rows, start=1):
            where = {"file": name, "line": line}
            ends: dict[str, int] = {}
            for kind, text in row.mail.identifiers:
                start = row.mail.prompt.index(text, ends.get(text, 0))
                ends[text] = start + len(text)
                plant = {**where, "kind": kind, "column": "prompt", "start": start, "end": ends[text], "text": text}
                plants.append(plant | ({"disguise": row.disguises[text]} if text in row.disguises else {}))
            for mark in row.marks:
                plant = {**where, **{name: value for name, value in mark.items() if name != "of"}}
                if "of" in mark:
                    of_file, of_line = place[id(mark["of"])]
                    plant["of"] = {"file": of_file, "line": of_line}
                plants.append(plant)
    return plants


def main() -> None:
    """Read the options, write ``train.jsonl``, ``agency.jsonl``, ``test.jsonl`` and ``planted.json``."""
    parser = argparse.ArgumentParser(description="Make the claims example's data.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--test", type=int, default=200)
    options = parser.parse_args()
    files = make(options.seed, train=options.train, test=options.test)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        _write(options.out / name, "".join(to_line(row) for row in rows))
    _write(options.out / "planted.json", json.dumps(plan(files), ensure_ascii=False, indent=1) + "\n")
    print(f"{len(files['train.jsonl'])} + {len(files['agency.jsonl'])} train", end=" ")
    print(f"and {len(files['test.jsonl'])} test rows in {options.out}")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


if __name__ == "__main__":
    main()
