"""The JSON Schema of an answer: loaded once, checked, and never fetched from anywhere.

Place on the road: read when the project is checked and again when answers are measured. Knows nothing of figures.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

from tuneward.digests import canonical_json, digest_value
from tuneward.errors import ConfigError, Fault

#: Formats that are checked. A fixed list, so that no installed extra changes a verdict.
FORMATS = ("date", "email", "ipv4", "ipv6", "regex", "uuid")


@dataclass(frozen=True)
class AnswerSchema:
    """A usable schema.

    Attributes:
        digest: digest of the schema's content; part of what an evaluation depends on.
        fields: names of the top-level properties, in the file's order.
        validator: checks values; local references only.
    """

    digest: str
    fields: tuple[str, ...]
    validator: Validator

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is valid against the schema."""
        try:
            return bool(self.validator.is_valid(value))
        except RecursionError:  # nested deeper than anybody can judge
            return False

    def problem(self, value: Any) -> str | None:
        """Where and by which rule ``value`` fails first, without quoting it; None when it is valid."""
        try:
            errors = sorted(
                self.validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path]
            )
        except RecursionError:
            return "the object is nested too deep to be judged"
        if not errors:
            return None
        place = ".".join(str(part) for part in errors[0].absolute_path)
        return f"{f'field `{place}`' if place else 'the object'} breaks the schema's `{errors[0].validator}`"


def load_schema(path: Path, *, shown: str = "") -> AnswerSchema:
    """Read and check a schema.

    Args:
        path: the file.
        shown: how the project names it, for messages; the path itself when empty.

    Raises:
        ConfigError: with every fault: not readable, no JSON, no JSON Schema, not about an object, dangling references.
    """
    place = shown or str(path)
    value = _read(path, place)
    cls = validator_for(value, default=Draft202012Validator)
    try:
        cls.check_schema(value)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise ConfigError(
            Fault("TW-EVAL-002", f"at {where}: {error.message}", place, "see https://json-schema.org for its words")
        ) from None
    resource = Resource.from_contents(value, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(resource.id() or "", resource)
    faults = list(_dangling(value, registry, place))
    kinds = value.get("type", "object")
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        faults.append(
            Fault(
                "TW-EVAL-002", "the schema describes no object", place, "an answer is one JSON object: `type: object`"
            )
        )
    if faults:
        raise ConfigError(faults)
    validator = cls(value, registry=registry, format_checker=FormatChecker(formats=FORMATS))
    fields = tuple(value.get("properties", {}))
    try:
        validator.is_valid(dict.fromkeys(fields))
    except RecursionError:
        cure = "let a `$ref` lead on to something else than itself"
        raise ConfigError(Fault("TW-EVAL-002", "a reference leads back to itself", place, cure)) from None
    return AnswerSchema(digest=digest_value(value), fields=fields, validator=validator)


def _read(path: Path, place: str) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ConfigError(Fault("TW-EVAL-001", "is not a file", place, "name a file beside tuneward.yaml"))
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
        canonical_json(value)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise ConfigError(Fault("TW-EVAL-001", problem, place, "name a file beside tuneward.yaml")) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Fault("TW-EVAL-001", f"byte {error.start} is not UTF-8", place, "save it as UTF-8")) from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            Fault("TW-EVAL-002", f"not JSON: {error.msg}", f"{place}:{error.lineno}", "check commas, quotes and braces")
        ) from None
    except ValueError:  # 1e999, 5,000 digits, half a character
        problem = "it holds a number or text that has no JSON form"
        raise ConfigError(Fault("TW-EVAL-002", problem, place, "use finite numbers and plain text")) from None
    except RecursionError:
        raise ConfigError(Fault("TW-EVAL-002", "nested too deep", place, "flatten the schema")) from None
    if not isinstance(value, dict):
        raise ConfigError(
            Fault("TW-EVAL-002", "a schema must be a JSON object here", place, 'begin with {"type": "object", …}')
        )
    return value


def _dangling(value: dict[str, Any], registry: "Registry[Any]", place: str) -> Iterator[Fault]:
    declared = value.get("$schema")
    specification = specification_with(declared, default=DRAFT202012) if isinstance(declared, str) else DRAFT202012
    resolver = registry.resolver_with_root(specification.create_resource(value))
    for reference in sorted(set(_references(value))):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield Fault(
                "TW-EVAL-003",
                f"`{reference}` is not in this file, and nothing is fetched",
                place,
                "copy what it refers to under `$defs`",
            )


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(inner, str):
                yield inner
            elif key not in ("const", "enum", "default", "examples"):
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def unknown_fields(names: list[str], schema: AnswerSchema, *, setting: str) -> list[Fault]:
    """One fault for every name in a setting that is no field of the schema."""
    faults = []
    for name in names:
        if name in schema.fields:
            continue
        near = difflib.get_close_matches(name, schema.fields, n=1, cutoff=0.5)
        cure = f"did you mean `{near[0]}`?" if near else f"fields there: {', '.join(schema.fields) or 'none'}"
        faults.append(Fault("TW-EVAL-004", f"the schema has no field `{name}`", setting, cure))
    return faults
