"""Answers against the task's JSON schema: counted and named, never removed.

Place on the road: looks at each record in ``data.dataset.build`` where the task has a schema. Fetches nothing: a schema
that refers to another host is unresolved, and its answers count as not fitting.
"""

from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing
import referencing.exceptions

from tuneward.data.readers import parse_json
from tuneward.domain.record import Record


class AnswerCheck:
    """Remembers where answers do not fit.

    Attributes:
        outside: places of rows whose answer does not fit the schema.
        active: whether there is a schema at all.
    """

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self.outside: list[Record] = []
        self.active = schema is not None
        self._validator = None
        if schema is not None:
            validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
            self._validator = validator(schema, registry=referencing.Registry())

    def look(self, record: Record) -> None:
        """Check one record's answer."""
        if self._validator is None:
            return
        try:
            fits = self._validator.is_valid(parse_json(record.answer))
        except (ValueError, referencing.exceptions.Unresolvable):
            fits = False
        if not fits:
            self.outside.append(record)
