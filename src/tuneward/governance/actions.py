"""Actions: everything that is governed, by name; and the roles that a policy hands it to.

Place on the road: read by policies (which give actions to roles) and by the log. One list, so that a policy with a
misspelt action is refused and no step can invent one.
"""

from typing import Literal

Action = Literal[
    "site.create",
    "member.add",
    "key.create",
    "key.revoke",
    "base.pull",
    "dataset.prepare",
    "dataset.show",
    "dataset.export",
    "draft.create",
    "draft.accept",
    "draft.reject",
    "consent.withdraw",
    "licence.decide",
    "approval.request",
    "approval.grant",
    "approval.refuse",
    "run.start",
    "run.finish",
    "run.fail",
    "evaluation.finish",
    "version.register",
    "version.export",
    "deployment.activate",
    "gateway.start",
    "gateway.stop",
    "answer.start",
    "answer.finish",
]

#: ``caller`` is whoever holds a key to the gateway; the others are given to members.
Role = Literal["engineer", "approver", "operator", "auditor", "owner", "caller"]
MEMBER_ROLES: tuple[str, ...] = ("engineer", "approver", "operator", "auditor", "owner")
