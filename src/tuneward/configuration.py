"""Configuration: reading YAML with places, and the base class of every room's settings.

Place on the road: before everything else. Each room owns a small frozen :class:`Section`; ``tuneward.yaml`` is their
composition (``workflows.project``). This file knows the manner of settings, not one setting.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tuneward.errors import ConfigError, Fault


class Section(BaseModel):
    """Base of all settings: frozen, unknown keys forbidden, docstrings under fields are their documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    def canonical(self) -> dict[str, Any]:
        """The settings as plain JSON values, defaults filled in: what is digested and frozen into a run."""
        return self.model_dump(mode="json")


S = TypeVar("S", bound=Section)
Path_ = tuple[str | int, ...]


def load_section(path: Path, model: type[S]) -> S:
    """Read a YAML file into ``model``.

    Raises:
        ConfigError: with every fault found, each with file and line, and a suggestion for unknown keys.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            Fault("TW-CONF-001", "the project file is missing", str(path), "run `tuneward init` or name its folder")
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            Fault("TW-CONF-002", f"byte {error.start} is not UTF-8", str(path), "save the file as UTF-8")
        ) from None
    except OSError as error:
        raise ConfigError(
            Fault("TW-CONF-002", f"cannot be read: {error.strerror}", str(path), "check the path and its permissions")
        ) from None
    values, lines = parse_yaml(text, str(path))
    return validate(values, model, file=str(path), lines=lines)


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[Path_, int]]:
    """Parse YAML into a mapping and the 1-based line of every key.

    Raises:
        ConfigError: on syntax errors, duplicate keys, or when the top is no mapping.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ConfigError(Fault("TW-CONF-002", problem, place, "check indentation, colons and quotes")) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            Fault("TW-CONF-002", "the file must hold settings (key: value)", name, "see docs/settings.md")
        )
    lines: dict[Path_, int] = {}
    faults: list[Fault] = []
    if node is not None:
        _walk(node, (), lines, faults, name)
    if faults:
        raise ConfigError(faults)
    return values, lines


def _walk(node: yaml.Node, at: Path_, lines: dict[Path_, int], faults: list[Fault], name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            line = key.start_mark.line + 1
            if here in lines:
                faults.append(
                    Fault(
                        "TW-CONF-006",
                        f"{_dotted(here)} is already set in line {lines[here]}",
                        f"{name}:{line}",
                        "keep one of the two",
                    )
                )
            lines[here] = line
            _walk(value, here, lines, faults, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            _walk(value, (*at, index), lines, faults, name)


def validate(
    values: Mapping[str, Any], model: type[S], *, file: str = "", lines: Mapping[Path_, int] | None = None
) -> S:
    """Validate plain values into ``model``; all faults at once.

    Raises:
        ConfigError: one fault per wrong, missing or unknown setting.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_fault(item, values, model, file, lines or {}) for item in error.errors()]
        raise ConfigError(faults) from None


def _fault(item: Any, values: Any, model: type[Section], file: str, lines: Mapping[Path_, int]) -> Fault:
    location: Path_ = tuple(part for part in item["loc"] if not _is_branch_tag(part))
    dotted = _dotted(location)
    line = next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), None)
    place = f"{file}:{line}" if file and line else (file or dotted)
    kind = item["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        cure = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"
        return Fault("TW-CONF-003", f"unknown setting `{dotted}`", place, cure)
    if kind == "missing":
        return Fault("TW-CONF-005", f"`{dotted}` is missing", place, f"add `{location[-1]}:` (see docs/settings.md)")
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return Fault("TW-CONF-004", f"`{dotted}`: {message[0].lower() + message[1:]}{shown}", place, "see docs/settings.md")


def _is_branch_tag(part: str | int) -> bool:
    """Pydantic puts the name of a union's branch into the location; such tags are no keys of the file."""
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "float", "bool", "literal"})


def _known_keys(model: type[Section], location: Path_) -> list[str]:
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if field is None:
            return []
        current = _section_in(field.annotation)
        if current is None:
            return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg)) is not None), None)


def _dotted(location: Path_) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text
