"""Step 0, second half: bring a base model into the site, checked and named by its digest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tuneward.digests import digest_file
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.errors import ModelError
from tuneward.governance.change import Office, change, permit
from tuneward.licences import Use, check, unknown
from tuneward.licences import find as named
from tuneward.modeling.pull import moved_to
from tuneward.modeling.pull import pull as fetch
from tuneward.progress import SILENT, Progress
from tuneward.storage.database import now
from tuneward.storage.repository import find, get
from tuneward.workflows.bases import ALSO_NAMED, base_named, name_of, place_of
from tuneward.workflows.licence import decide_on, licence_in_force


@dataclass(frozen=True)
class PullResult:
    """What ``pull`` did.

    Attributes:
        base: the base in the site.
        reused: True when it was there already and its bytes still check out.
        next: the command that comes next.
    """

    base: Base
    reused: bool
    next: str = "tuneward prepare"


def pull(
    office: Office,
    reference: str,
    *,
    use: Use = "internal",
    licence: str | None = None,
    reason: str = "",
    beside: Path = Path(),
    follow: bool = True,
    progress: Progress = SILENT,
) -> PullResult:
    """Fetch ``reference``, check it, convert it once to safetensors and store it by digest.

    A hub's branch is resolved to its commit, which is recorded. When it moved since, that is said.

    Args:
        office: where and as whom.
        reference: a catalogue name, ``org/name@revision``, or a local folder.
        use: the use that the licence must allow.
        licence: licence to assume where the model does not state one, or states it wrongly; recorded as declared. Of
            a base that a dataset was made from, or with a reason, it becomes a decision (``licence decide``), which
            holds from then on: approvals and signed papers keep the licence that they name.
        reason: why that licence.
        beside: folder from which a relative folder is meant; the project's.
        follow: whether a branch that moved is pulled again; else the base that is there is kept.
        progress: told how far it is, and about a branch that moved.

    Raises:
        ModelError: unknown, unreachable, damaged or foreign bytes, or a licence that forbids the use (all faults).
        GovernanceError: the actor may not pull.
    """
    permit(office, "base.pull")
    if licence is not None and named(licence) is None:
        raise ModelError(unknown(licence))
    with office.site.lock("pull"):
        with office.site.database.read() as c:
            known = base_named(c, office.site, reference, beside)
        place = place_of(reference, beside)
        name = name_of(office.site, place) if place else reference
        kept = known and known.name == name and _as_it_was(known) and not office.site.artifacts.check(known.id)
        if known and kept and not (_moved(known, progress, follow=follow) and follow):
            kept_base = _licensed(office, known, licence)
            if kept_base != known:
                _record(office, kept_base)
            return PullResult(base=_decided(office, kept_base, licence, use=use, reason=reason), reused=True)
        with office.site.scratch() as scratch:
            pulled = fetch(str(place or reference), scratch / "base", progress=progress, licence=licence)
            refuse_forbidden_use(pulled.licence, use)
            digest = office.site.artifacts.put_tree(pulled.folder)
        base = Base(
            id=digest,
            name=name,
            source=pulled.source,
            licence=pulled.licence,
            architecture=pulled.architecture,
            parameters=pulled.parameters,
            context_tokens=pulled.context_tokens,
            created_at=now(),
        )
        with office.site.database.read() as c:
            first = get(c, Base, digest)
        if first is not None:
            base = _licensed(office, _again(first, base, progress), licence)
        _record(office, base, name=name)
        base = _decided(office, base, licence, use=use, reason=reason)
    return PullResult(base=base, reused=False)


def _record(office: Office, base: Base, *, name: str | None = None) -> None:
    with change(office, "base.pull", base.id) as c:
        c.put(base)
        c.note(name=name or base.name, licence=base.licence)
        if "revision" in base.source:
            c.note(revision=base.source["revision"])


def _decided(office: Office, base: Base, licence: str | None, *, use: Use, reason: str) -> Base:
    """The base, after what was said of its licence is decided where that is more than a first word on it."""
    asked = named(licence) if licence is not None else None
    if asked and (reason.strip() or asked.name != base.licence):
        decide_on(office, base, asked.name, use=use, reason=reason or "given to `tuneward pull --licence`")
    with office.site.database.read() as c:
        refuse_forbidden_use(licence_in_force(c, base), use)
    return base


def _licensed(office: Office, base: Base, licence: str | None) -> Base:
    """The base that is there, under the licence that was asked for, unless datasets were made under its own."""
    asked = named(licence) if licence is not None else None
    if asked is None or asked.name == base.licence:
        return base
    with office.site.database.read() as c:
        used = find(c, Dataset, base=base.id)
    return base if used else replace(base, licence=asked.name)


def _moved(base: Base, progress: Progress, *, follow: bool) -> bool:
    """Whether a hub's branch points to another commit now; says so, and says when it could not be asked."""
    held = str(base.source.get("revision", ""))[:12]
    try:
        commit = moved_to(base.name, base.source)
    except ModelError as error:
        why = error.faults[0].message
        progress.say(f"{base.name}: kept at commit {held}; whether it moved is not known ({why})")
        return False
    if commit is None:
        return False
    then = "pulled again" if follow else "the old one is kept; `tuneward pull` takes the new one"
    progress.say(f"{base.name} moved from commit {held} to {commit[:12]}: {then}")
    return True


def _as_it_was(base: Base) -> bool:
    """Whether a base that came from this machine's own files would come the same again; others cannot change."""
    if base.source["kind"] not in {"folder", "gguf"}:
        return True
    place = Path(base.source["path"])
    folder = place if base.source["kind"] == "folder" else place.parent
    files: Mapping[str, str] = base.source["files"]
    return all((folder / name).is_file() and digest_file(folder / name) == digest for name, digest in files.items())


def _again(first: Base, anew: Base, progress: Progress) -> Base:
    """The same bytes once more: signed papers name the first row, so its name and licence stay; a new name is added."""
    if anew.name == first.name:
        return replace(first, created_at=anew.created_at)
    progress.say(f"these bytes are in the site already, as {first.name} under {first.licence}")
    names = sorted({*first.source.get(ALSO_NAMED, ()), anew.name})
    return replace(first, source={**first.source, ALSO_NAMED: names}, created_at=anew.created_at)


def refuse_forbidden_use(licence: str, use: Use) -> None:
    """Raise what the licence has against the declared use.

    Raises:
        ModelError: the use is forbidden, or the licence is unknown.
    """
    if faults := check(licence, use):
        raise ModelError(faults)
