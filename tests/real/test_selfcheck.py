"""The self-check on a real small model."""

from pathlib import Path

import pytest

from tuneward.workflows.init import init
from tuneward.workflows.pull import pull
from tuneward.workflows.selfcheck import selfcheck
from tuneward.workflows.workspace import governing_office

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


def test_the_catalogues_base_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    init(tmp_path, actor="ada")
    office = governing_office(tmp_path, actor="ada")
    base = pull(office, "smollm2-135m-instruct").base
    result = selfcheck(tmp_path, base=office.site.artifacts.tree(base.id))
    assert [(line.name, line.reason) for line in result.lines if line.verdict == "fail"] == []
    whole = {line.name for line in result.lines if line.on == "whole model"}
    assert whole == {"packed", "loss head", "lora"}
