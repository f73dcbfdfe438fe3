"""Numbers of versions: one more than the highest, whatever the clock says."""

from dataclasses import replace
from pathlib import Path

from tests.serving.served_site import ServedSite
from tuneward.domain.version import ModelVersion
from tuneward.storage.repository import find, update
from tuneward.workflows.register import next_number


def test_a_clock_that_was_set_back_gives_no_number_twice(tmp_path: Path) -> None:
    made = ServedSite.make(tmp_path)
    database = made.office.site.database
    with database.read() as c:
        assert next_number(c, "p") == 1
    for alias in ("one", "two"):
        made.deploy(alias)
    with database.write() as c:
        (second,) = find(c, ModelVersion, number=2)
        update(c, replace(second, created_at="2001-01-01T00:00:00.000000+00:00"))
    with database.read() as c:
        assert next_number(c, "p") == 3
        assert next_number(c, "another") == 1
