"""Office: who acts, where, with which keys and under which rules.

Place on the road: made once by every door; handed to every governed step.
"""

from dataclasses import dataclass

from tuneward.domain.policy import Policy
from tuneward.governance.keys import Keys
from tuneward.storage.site import Site


@dataclass(frozen=True)
class Office:
    """The four things that every change needs.

    Attributes:
        site: where.
        keys: the site's keys.
        actor: member id, or ``key:<id>`` for a caller of the gateway.
        policy: the rules in force.
    """

    site: Site
    keys: Keys
    actor: str
    policy: Policy
