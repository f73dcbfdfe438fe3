"""What `verify` prints: the sign before a link, its words and the verdict say the same."""

import pytest

from tuneward.cli.output import stdout
from tuneward.cli.proof import show_chain
from tuneward.errors import Fault
from tuneward.workflows.links import Link
from tuneward.workflows.verify import VerifyResult

WHOLE = Link("version", "ver_1", "number 1")
AFFECTED = Link("consent", "ver_1", "AFFECTED: 1 consent behind it was withdrawn", affected=True)
FAULT = Fault("TW-PROOF-012", "evaluation: the gate says no", "evl_1", "do not serve it")
BROKEN = Link("evaluation", "evl_1", "it was registered as passed", (FAULT, FAULT))


def shown(*links: Link) -> list[str]:
    verified = all(link.holds for link in links)
    with stdout.capture() as captured:
        show_chain(VerifyResult("ver_1", verified, links, next=""))
    return captured.get().splitlines()


def test_a_chain_that_holds_is_verified_and_nothing_else():
    first, verdict = shown(WHOLE)
    assert first.split() == ["✓", "version", "ver_1", "number", "1"]
    assert verdict == "verified"


def test_what_is_affected_has_no_tick_and_the_verdict_says_so():
    _, second, verdict = shown(WHOLE, AFFECTED)
    assert second.split()[:2] == ["!", "consent"]
    assert verdict == "verified: the chain holds; but it is AFFECTED: consent"


@pytest.mark.parametrize("others", [(), (AFFECTED,)])
def test_what_does_not_hold_is_named_in_the_verdict_with_its_cure_once(others):
    lines = shown(WHOLE, *others, BROKEN)
    assert lines[-2:] == ["NOT verified: evaluation", "cure: do not serve it"]
    assert [line.split()[0] for line in lines if "evl_1" in line] == ["✗"]
