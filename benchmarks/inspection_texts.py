"""Texts without marks, for speed and false alarms: what people write in chats, and what none of it should alarm.

Read from the optional data folder that ``TUNEWARD_TEST_DATA`` names. Knows no contender.
"""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path


def folder() -> Path:
    """The data folder.

    Raises:
        SystemExit: there is none.
    """
    path = Path(os.environ.get("TUNEWARD_TEST_DATA", "../shared/data"))
    if not path.is_dir():
        raise SystemExit(f"{path} is missing: set TUNEWARD_TEST_DATA to the folder of data sets")
    return path


def _gsm8k() -> list[str]:
    lines = (folder() / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


def _clinc150() -> list[str]:
    rows = json.loads((folder() / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    return [text for text, _ in rows["test"]]


def _hh_rlhf() -> list[str]:
    return (folder() / "hh-rlhf" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()


def _mts_dialog() -> list[str]:
    path = folder() / "mts-dialog" / "MTS-Dialog-TrainingSet.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [row["dialogue"] for row in csv.DictReader(file)]


def _sms_spam() -> list[str]:
    lines = (folder() / "sms-spam" / "SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    return [line.split("\t", 1)[1] for line in lines if "\t" in line]


#: Name → reader. Conversations first: what Tuneward inspects most.
TEXTS: dict[str, Callable[[], list[str]]] = {
    "hh-rlhf": _hh_rlhf,
    "mts-dialog": _mts_dialog,
    "gsm8k": _gsm8k,
    "sms-spam": _sms_spam,
    "clinc150": _clinc150,
}
