"""Bases, adapters and held-out rows on disk, as an export finds them in a site."""

import json
from pathlib import Path

from tests.modeling.test_merge import random_adapter
from tests.tiny import make_tiny_base
from tuneward.modeling.adapter_files import save_adapter

ANSWERS = ('{"kind": "ok"}', "the answer is 42", "no", "it is in the list")


def write_rows(file: Path, *, count: int = 6, length: int = 4) -> Path:
    rows = [
        {
            "id": f"rec_{number}",
            "messages": [
                {"role": "user", "content": "what is this? " * (1 + number % length)},
                {"role": "assistant", "content": ANSWERS[number % len(ANSWERS)]},
            ],
            "source": {"path": "test.jsonl", "file_digest": "0" * 64, "line": number + 1},
            "subject": None,
            "split": "test",
        }
        for number in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_site(folder: Path, *, size: float = 0.05, architecture: str = "llama", **settings) -> dict[str, Path]:
    """Base, adapter, rows and two empty folders, by the names of the export process's options."""
    base = make_tiny_base(folder / "base", architecture=architecture, **settings)
    save_adapter(random_adapter(base, size=size), folder / "adapter", base_name="tiny")
    for name in ("into", "scratch"):
        (folder / name).mkdir()
    return {
        "base": base,
        "adapter": folder / "adapter",
        "rows": write_rows(folder / "test.jsonl"),
        "into": folder / "into",
        "scratch": folder / "scratch",
    }
