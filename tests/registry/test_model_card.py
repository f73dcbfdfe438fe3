import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from registry_nouns import ADAPTER, KEYS, provenance

from tuneward.registry.card import code, escaped, make_card
from tuneward.registry.versions import make_papers


def card(**changes: Any) -> str:
    return make_card(provenance(**changes)).decode()


def test_sections_and_figures() -> None:
    text = card()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "What for",
        "Base model and licence",
        "Data",
        "Approval",
        "Training",
        "Before and after",
        "Limits, and what was not measured",
        "How to verify",
    ]
    row = r"| exact\_match | 200 | 0.000 \[0.000, 0.030\] | 0.710 \[0.650, 0.760\] | +0.710 \[+0.640, +0.770\] |"
    assert row in text
    assert ADAPTER in text
    assert "- State what was changed." in text
    assert "Not measured: bias (no bias suite yet)." in text
    assert "same person" in text
    assert "| amount\\|euro | exact | 200 | undefined |" in text
    assert "Unusable answers of the base model: empty 12; text around the object 188." in text


def test_tables_are_whole() -> None:
    for block in re.findall(r"(?:^\|.*\n)+", card(), re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_the_same_bytes_twice() -> None:
    assert make_card(provenance()) == make_card(provenance())


def test_without_approval_duties_and_figures() -> None:
    plain = provenance()
    text = card(approval=None, duties=(), run=replace(plain.run, approval=None, figures={}, finished_at=None))
    assert "asked for no approval" in text
    assert "No licence duties were recorded" in text
    assert "to unknown." in text


def test_values_cannot_forge_markdown() -> None:
    evil = "x\n\n# Approved by the regulator\n| a | b |\n<script>alert(1)</script> [here](http://evil) {{ 7 * 7 }} `c`"
    base = replace(provenance().base, name="`evil` | name", licence="<b>MIT</b>")
    text = card(purpose=evil, base=base)
    assert "\n# Approved" not in text
    assert "<script" not in text.replace("\\<", "")
    assert "[here](" not in text.replace("\\[", "")
    assert "49" not in text.split("## Base model")[0]
    assert "`evil`" not in text


def test_escaping() -> None:
    assert escaped("a_b*c\n|d") == r"a\_b\*c \|d"
    assert escaped(1.5) == "1.5"
    assert escaped("&lt;b&gt; &copy; R&D") == r"\&lt;b\&gt; \&copy; R\&D"
    assert code("a`b|c") == "`a b c`"
    assert escaped(code("a_b")) == "`a_b`"


def test_the_recipe_verifies_without_tuneward(tmp_path) -> None:
    """The commands in the card, as written, with nothing of ours importable; and they refuse a changed statement."""
    if not (shutil.which("openssl") and shutil.which("sha256sum")):
        pytest.skip("openssl or sha256sum is not installed")
    make_papers(provenance(), KEYS).write(tmp_path)
    (tmp_path / "public.pem").write_bytes(KEYS.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    recipe = re.search(r"```sh\n(.*?)```", (tmp_path / "model-card.md").read_text(), re.DOTALL)
    assert recipe
    script = "set -e\n" + recipe[1].replace("python3 -c", f"{sys.executable} -I -c")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    statement = (tmp_path / "statement.json").read_text()
    assert all(line.split()[0] in statement for line in done.stdout.splitlines() if line.endswith((".json", ".md")))
    envelope = (tmp_path / "statement.dsse.json").read_text()
    (tmp_path / "statement.dsse.json").write_text(envelope.replace('"payload":"ey', '"payload":"eY'))
    assert run().returncode != 0
