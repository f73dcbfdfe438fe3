"""Links: what one step of a walk along the chain of proof says, and how a check that fails becomes a finding.

Place on the road: under ``verify``, which walks. Knows no noun and no database.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tuneward.domain.audit import AuditEvent
from tuneward.errors import Fault, TunewardError


@dataclass(frozen=True)
class Link:
    """One link of the chain.

    Attributes:
        name: ``answer``, ``deployment``, ``version``, ``adapter``, ``evaluation``, ``approval``, ``run``, ``start``,
            ``dataset``, ``base``, ``consent`` (only where one was withdrawn), ``register`` or ``log``.
        subject: id or digest of what it is about.
        says: what holds, in a few words; where it does not hold, what it is.
        faults: what does not hold; empty when all is well.
        affected: whether the link holds and tells of something that its reader must know, such as a withdrawn consent.
    """

    name: str
    subject: str
    says: str
    faults: tuple[Fault, ...] = ()
    affected: bool = False

    @property
    def holds(self) -> bool:
        """Whether nothing was found against it."""
        return not self.faults


def found(check: Callable[[], list[Fault]], name: str, subject: str) -> list[Fault]:
    """What a check finds; a row that was edited until it can no longer be checked is a finding too."""
    try:
        return check()
    except TunewardError as error:
        return [
            broken(
                name, subject, f"{fault.place}: {fault.message}" if fault.place not in {"", subject} else fault.message
            )
            for fault in error.faults
        ]
    except (LookupError, TypeError, ValueError, AttributeError):
        return [broken(name, subject, "its row is not of the form that was written")]


def id_in(event: AuditEvent, what: str) -> str:
    """An id that an event's detail names; empty where the event was edited."""
    return str(event.detail.get(what, "")) if isinstance(event.detail, dict) else ""


def broken(name: str, subject: str, message: str) -> Fault:
    """The fault of a link that does not hold."""
    return Fault("TW-PROOF-012", f"{name}: {message}", subject, "do not serve it; restore a backup or make it anew")
