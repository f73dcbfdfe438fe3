"""A realistic summary for the report's tests; ``python -m tests.workflows.report_summary`` prints its page."""

import hashlib
import json
import math
import random
from typing import Any

from tuneward.workflows.report import render_report
from tuneward.workflows.summary import Summary


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def figure(base: float, tuned: float, *, n: int = 200, test: str = "exact McNemar") -> Any:
    def ends(share: float) -> list[float]:
        half = 1.96 * math.sqrt(share * (1 - share) / n + 0.0001)
        return [max(0.0, share - half), min(1.0, share + half)]

    change = tuned - base
    p = 1e-40 if change > 0.3 else 0.0021 if change > 0.08 else 0.63
    return {
        "base": base,
        "base_interval": ends(base),
        "tuned": tuned,
        "interval": ends(tuned),
        "difference": change,
        "difference_interval": [max(-1.0, change - 0.07), min(1.0, change + 0.066)],
        "n": n,
        "p_value": p,
        "test": test,
    }


def curve() -> str:
    rng = random.Random(3)
    losses = [1.9 * math.exp(-step / 14) + 0.16 + rng.uniform(-0.03, 0.05) for step in range(120)]
    line = " ".join(f"{56 + 5.4 * i:.1f},{280 - 130 * loss:.1f}" for i, loss in enumerate(losses))
    ticks = "".join(
        f'<line x1="56" x2="704" y1="{280 - 130 * v:.0f}" y2="{280 - 130 * v:.0f}" class="grid"/>'
        f'<text class="ink" x="48" y="{284 - 130 * v:.0f}" text-anchor="end">{v}</text>'
        for v in (0, 0.5, 1, 1.5)
    )
    return (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 320" role="img" '
        'aria-label="Training loss" font-family="system-ui, sans-serif" font-size="12"><style>.ink{fill:#33414e}'
        ".grid{stroke:#8a97a3;stroke-opacity:.3}@media (prefers-color-scheme:dark){.ink{fill:#d5dde4}}</style>"
        f'{ticks}<polyline fill="none" stroke="#1f6fc4" stroke-width="2" points="{line}"/></svg>\n'
    )


MAIL = """Subject: third attempt
Dear team,
I tipped over the chandelier in Leeds and it is in pieces. It is ours, nobody else was concerned. Date of damage: the \
22nd of April 2024. Costs to follow. The number on the letter is E1994-174-C. It is a small thing.
All the best,
Gareth Ashdown"""
WANTED: dict[str, Any] = {
    "category": "breakage",
    "severity": "low",
    "policy_number": "E1994-174-C",
    "amount": None,
    "currency": None,
    "date_of_loss": "2024-04-22",
    "needs_human": False,
    "summary": "broken furniture, chandelier, Leeds",
}
SECOND = """From: Lieselotte Wiesner <[EMAIL]>
Sent: Monday, 11 November 2024
Hello???
During the gale last Friday a large bough came down on my Corsa near Erfurt. The windscreen is full of holes. It is no \
write-off, they say. The body shop wants 1.250,00 €. I know the excess is 150,- EUR!! Our contract: kf-553018. I will \
go to the ombudsman if nothing happens by the end of the month."""
SECOND_WANTED: dict[str, Any] = {
    "category": "motor",
    "severity": "medium",
    "policy_number": "KF-553018",
    "amount": 1250,
    "currency": "EUR",
    "date_of_loss": "2024-11-08",
    "needs_human": True,
    "summary": "branch fell on car, windscreen, Erfurt",
}


def link(kind: Any, name: str, time: str, *facts: tuple[str, str], **more: Any) -> Any:
    identity = digest(name) if kind == "base" else name
    return {
        "kind": kind,
        "id": identity,
        "digest": digest(name),
        "at": f"2026-11-22T{time}.120456+00:00",
        "facts": facts,
        "checked": True,
        **more,
    }


def summary() -> Summary:
    """A run that went well."""
    texts = {"wanted": json.dumps(WANTED), "second": json.dumps(SECOND_WANTED)}
    return {
        "project": "claims-triage",
        "purpose": "Turn claim e-mails into triage records for the claims desk.",
        "base": "smollm2-135m-instruct",
        "base_licence": "Apache-2.0",
        "policy": "solo",
        "made_at": "2026-11-22T09:31:07.004021+00:00",
        "tuneward": "0.1.0",
        "machine": "2 cores (AMD EPYC, AVX-512 with bf16), 8 GB memory, no GPU; Python 3.11, torch 2.13.0",
        "seconds": 471.3,
        "headline": "task.exact_match",
        "figures": {
            "task.valid": figure(0.0, 0.985),
            "task.exact_match": figure(0.0, 0.625),
            "task.field_f1": figure(0.114, 0.918, test="randomisation"),
        },
        "fields": {
            name: figure(base, tuned, test="randomisation")
            for name, base, tuned in (
                ("category", 0.21, 0.935),
                ("severity", 0.18, 0.875),
                ("policy_number", 0.09, 0.955),
                ("amount", 0.12, 0.94),
                ("currency", 0.08, 0.97),
                ("date_of_loss", 0.05, 0.84),
                ("needs_human", 0.14, 0.885),
                ("summary", 0.06, 0.81),
            )
        },
        "free_text": ["summary"],
        "answers": [
            {
                "outcome": "improved",
                "prompt": MAIL,
                "reference": texts["wanted"],
                "base": "The email is about a claim for damage to a chandelier. The customer would like to know what "
                "to do next. I would recommend the following steps: 1. Contact the customer and ask for the details.",
                "tuned": json.dumps({**WANTED, "summary": "broken chandelier, Leeds"}),
            },
            {
                "outcome": "still wrong",
                "prompt": SECOND,
                "reference": texts["second"],
                "base": json.dumps({"category": "storm", "severity": "high", "amount": "1.250,00 €", "note": "urgent"}),
                "tuned": json.dumps({**SECOND_WANTED, "date_of_loss": "2024-11-04", "category": "storm"}),
            },
        ],
        "chosen": "Drawn at random with seed 0, in turn from improved, still wrong, worse, still right.",
        "data": {
            "train": {
                "read": 640,
                "dropped": {"finding": 1, "duplicate": 12, "contamination": 2, "too_long": 0},
                "kept": 625,
                "tokens": 166_204,
            },
            "test": {"read": 200, "dropped": {"finding": 0}, "kept": 200, "tokens": 52_870},
            "findings": {
                "api_key": {"drop": 1},
                "card": {"redact": 6},
                "email": {"redact": 140},
                "iban": {"redact": 9},
                "phone": {"redact": 97},
            },
            "noticed": {"contradictions": 5, "near_duplicates": 12, "near_test": 0},
        },
        "training": {
            "rows": 625,
            "steps": 120,
            "tokens": 332_408,
            "seconds": 214.6,
            "tokens_per_second": 1549.0,
            "first_loss": 2.061,
            "final_loss": 0.163,
            "trained_parameters": 4_884_480,
            "peak_bytes": 2_150_000_000,
            "precision": "bf16",
            "device": "cpu",
            "curve_svg": curve(),
        },
        "gate": {
            "passed": True,
            "reasons": [
                "task.valid: asked at least 0.9, measured 0.985 (95% interval 0.957 to 0.995, n = 200): met",
                "task.exact_match: asked at least 0.5, measured 0.625 (95% interval 0.556 to 0.689, n = 200): met",
            ],
        },
        "chain": [
            link(
                "answer",
                "evt_01jd8s",
                "09:31:02",
                ("log line", "41"),
                ("question", digest("q")),
                ("answer", digest("a")),
            ),
            link(
                "deployment", "dep_01jd8r", "09:30:11", ("alias", "claims-triage"), ("canary difference", "0.87 nats")
            ),
            link(
                "version",
                "ver_01jd8q",
                "09:30:02",
                ("number", "1"),
                ("signed by", "ed25519:9f2c41d0"),
                ("adapter", digest("l")),
            ),
            link("evaluation", "evl_01jd8p", "09:29:44", ("gate", "passed"), ("items", "200"), ("report", digest("r"))),
            link("approval", "apr_01jd8n", "09:23:50", ("asked by", "mara"), ("granted by", "mara"), self_granted=True),
            link("run", "run_01jd8m", "09:27:31", ("seed", "0"), ("steps", "120"), ("config", digest("c"))),
            link("dataset", "dat_01jd8k", "09:23:41", ("rows", "625 train, 200 test"), ("fingerprint", digest("f"))),
            link("base", "smollm2", "09:23:20", ("name", "smollm2-135m-instruct"), ("licence", "Apache-2.0")),
        ],
        "verified": True,
        "steps": [
            {"name": "pull", "result": "smollm2-135m-instruct, 135 M parameters", "seconds": 9.2, "state": "done"},
            {"name": "prepare", "result": "625 train and 200 test rows", "seconds": 6.1, "state": "done"},
            {"name": "approve", "result": "self-granted under policy solo", "seconds": 0.1, "state": "done"},
            {"name": "train", "result": "120 steps, loss 0.163", "seconds": 214.6, "state": "done"},
            {"name": "evaluate", "result": "200 items twice, gate passed", "seconds": 178.4, "state": "done"},
            {"name": "register", "result": "version 1, signed", "seconds": 0.4, "state": "done"},
            {"name": "deploy", "result": "claims-triage", "seconds": 21.3, "state": "done"},
            {"name": "serve", "result": "one question answered over HTTP", "seconds": 39.8, "state": "done"},
            {"name": "verify", "result": "8 links, 42 log lines", "seconds": 1.4, "state": "done"},
        ],
        "limits": [
            "The mails are invented by a script. Figures on a mailbox of your own will differ.",
            "The same person asked, granted and ran everything; the log says so, it does not make it two people.",
            "An unexported log proves nothing against somebody who holds the keys and rewrites all of it.",
        ],
        "not_measured": [
            ("forgetting", "this version of Tuneward has no general suite yet"),
            ("memorization.extracted", "this version of Tuneward has no memorization suite yet"),
        ],
        "next": ["tuneward chat", "tuneward serve", "tuneward verify"],
    }


if __name__ == "__main__":
    print(render_report(summary()))
