"""Configuration: reading YAML with places, and the base class of every room's settings.

Place on the road: before everything else. Each room owns a small frozen :class:`Section`; ``tuneward.yaml`` is their
composition (``workflows.project``). This file knows the manner of settings, not one setting.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tuneward.errors import ConfigError, Fault


class Section(BaseModel):
    """Base of all settings: frozen, finite, unknown keys forbidden, docstrings under fields are their documentation."""

    model_config = ConfigDict(  # what is infinite or no number has no JSON, so no digest
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_number(cls, values: Any) -> Any:
        """YAML's ``yes``, ``on`` and ``true`` are no ones: where a number is wanted they stay words."""
        if not isinstance(values, Mapping):
            return values
        accepted = {field.alias or name: _plain_types(field.annotation) for name, field in cls.model_fields.items()}
        numbers = {name for name, types in accepted.items() if types & {int, float} and bool not in types}
        return {
            name: str(value).lower() if isinstance(value, bool) and name in numbers else value
            for name, value in values.items()
        }

    def canonical(self) -> dict[str, Any]:
        """The settings as plain JSON values, defaults filled in: what is digested and frozen into a run."""
        return self.model_dump(mode="json")


class SettingError(ValueError):
    """What a validator raises that knows more than its section: which setting below it is wrong, and the cure.

    Args:
        message: what is wrong.
        at: path of the setting, from the section on.
        cure: what to do.
    """

    def __init__(self, message: str, *, at: tuple[str | int, ...] = (), cure: str) -> None:
        super().__init__(message)
        self.at, self.cure = at, cure


S = TypeVar("S", bound=Section)
Path_ = tuple[str | int, ...]
_QUOTED = re.compile(r"'([^']*)'")
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"  # `<<: *name`
_MOST_SETTINGS = 100_000  # more lines than this come from aliases of aliases only


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
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ConfigError(Fault("TW-CONF-002", problem, place, "check indentation, colons and quotes")) from None
    except RecursionError:
        raise ConfigError(Fault("TW-CONF-002", "nested too deeply", name, "see docs/settings.md")) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            Fault("TW-CONF-002", "the file must hold settings (key: value)", name, "see docs/settings.md")
        )
    lines: dict[Path_, int] = {}
    faults: list[Fault] = []
    if node is not None:
        _walk(node, (), lines=lines, faults=faults, name=name, above=frozenset())
    if faults:
        raise ConfigError(faults)
    return values, lines


def _walk(
    node: yaml.Node, at: Path_, *, lines: dict[Path_, int], faults: list[Fault], name: str, above: frozenset[int]
) -> None:
    if id(node) in above or len(lines) > _MOST_SETTINGS:
        faults.append(
            Fault(
                "TW-CONF-002",
                "an alias (`*name`) leads into itself or repeats too much",
                f"{name}:{node.start_mark.line + 1}",
                "write the settings out",
            )
        )
        raise ConfigError(faults)
    within = above | {id(node)}
    if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
        message, place = "holds a NUL or half a character (`\\0`, `\\uD800`)", f"{name}:{node.start_mark.line + 1}"
        faults.append(Fault("TW-CONF-002", f"{_dotted(at)} {message}".lstrip(), place, "write plain text"))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            line = key.start_mark.line + 1
            if key.tag not in {_TEXT, _MERGE}:
                message = f"the name `{key.value}` is read as {key.tag.rpartition(':')[2]}, not as text"
                faults.append(Fault("TW-CONF-002", message, f"{name}:{line}", "put it in quotes"))
            if here in lines and key.tag != _MERGE:
                faults.append(
                    Fault(
                        "TW-CONF-006",
                        f"{_dotted(here)} is already set in line {lines[here]}",
                        f"{name}:{line}",
                        "keep one of the two",
                    )
                )
            lines[here] = line
            _walk(value, here, lines=lines, faults=faults, name=name, above=within)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            _walk(value, (*at, index), lines=lines, faults=faults, name=name, above=within)


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


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
        raise ConfigError(_faults(error.errors(), values, model=model, file=file, lines=lines or {})) from None


def _faults(
    items: Iterable[Any], values: Any, *, model: type[Section], file: str, lines: Mapping[Path_, int]
) -> list[Fault]:
    """One fault per setting: the branches of a union complain one by one, and are joined."""
    kinds = {"extra_forbidden": "TW-CONF-003", "missing": "TW-CONF-005"}
    grouped: dict[tuple[Path_, str], list[Any]] = {}
    for item in items:
        code = kinds.get(item["type"], "TW-CONF-004")
        known = item.get("ctx", {}).get("error")
        below = known.at if isinstance(known, SettingError) else ()
        grouped.setdefault(((*_location(item, values), *below), code), []).append(item)
    return [
        _fault(location, code, found, model=model, file=file, lines=lines)
        for (location, code), found in grouped.items()
    ]


def _fault(
    location: Path_, code: str, items: list[Any], *, model: type[Section], file: str, lines: Mapping[Path_, int]
) -> Fault:
    dotted = _dotted(location)
    line = next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), None)
    place = f"{file}:{line}" if file and line else (file or dotted)
    if code == "TW-CONF-003":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        cure = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"
        return Fault(code, f"unknown setting `{dotted}`", place, cure)
    if code == "TW-CONF-005":
        return Fault(code, f"`{dotted}` is missing", place, f"add `{location[-1]}:` (see docs/settings.md)")
    reasons = [item["msg"].removeprefix("Value error, ") for item in items]
    message = ", or ".join(dict.fromkeys(reason[:1].lower() + reason[1:] for reason in reasons))
    given = items[0].get("input")
    shown = f", not {_shortened(given)}" if isinstance(given, str | int | float | bool) else ""
    contexts = [item.get("ctx", {}) for item in items]
    named = "".join(f"{context.get('expected', '')} {context.get('expected_tags', '')}" for context in contexts)
    wrong = str(contexts[0].get("tag", given))
    near = difflib.get_close_matches(wrong, _QUOTED.findall(named), n=1, cutoff=0.6)
    cure = f"did you mean `{near[0]}`?" if near else "see docs/settings.md"
    cure = next((known["error"].cure for known in contexts if isinstance(known.get("error"), SettingError)), cure)
    return Fault(code, f"{f'`{dotted}`: ' if dotted else ''}{message}{shown}", place, cure)


def _location(item: Any, values: Any) -> Path_:
    """The setting's path in the file: pydantic's, without the names that it gives to branches of unions and to keys."""
    path: list[str | int] = []
    current = values
    for number, part in enumerate(item["loc"], start=1):
        if isinstance(current, Mapping):
            if part in current:
                current = current[part]
            elif number == len(item["loc"]) and item["type"] == "missing":
                current = None
            else:
                continue
            path.append(part)
        elif isinstance(current, list | tuple) and isinstance(part, int) and part < len(current):
            current = current[part]
            path.append(part)
    return tuple(path)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _known_keys(model: type[Section], location: Path_) -> list[str]:
    current: list[Any] = [model]
    for part in location:
        if not isinstance(part, int):
            fields = [
                field
                for section in current
                for name, field in section.model_fields.items()
                if part in (name, field.alias)
            ]
            if fields:  # none: the key of a mapping whose values are sections
                current = [section for field in fields for section in _sections_in(field.annotation)]
    return list(
        dict.fromkeys(field.alias or name for section in current for name, field in section.model_fields.items())
    )


def _sections_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _sections_in(argument)]


def _plain_types(annotation: Any) -> set[Any]:
    """The types that a value may have at its top: ``int | None`` → int and None, ``tuple[int, ...]`` → tuple."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return {found for argument in get_args(annotation) for found in _plain_types(argument)}
    return {get_origin(annotation) or annotation}


def _dotted(location: Path_) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text
