"""The words that the schemas of answers are written in, so that each of them says what is there and what may be null.

A client is made from these schemas and tests hold every answer against them: a field that is not declared, or is null
without having been declared so, is an error here and not in somebody's chart.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
TIME: Final[Schema] = {"type": "integer", "description": "ms since 1970-01-01 UTC"}
# A setting of a strategy: a number, a switch, a word, or nothing.
SETTING: Final[Schema] = {"type": ["number", "boolean", "string", "array", "object", "null"]}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema, **limits: int) -> Schema:
    """A list whose items are all of one kind.

    Args:
        limits: `minItems`, `maxItems`.
    """
    return {"type": "array", "items": schema, **limits}


def by_name(schema: Schema) -> Schema:
    """An object with any names, whose values are all of one kind."""
    return {"type": "object", "additionalProperties": schema}


def record(**fields: Schema) -> Schema:
    """An object with exactly these fields."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def at_least(**fields: Schema) -> Schema:
    """An object with these fields and maybe others."""
    return {"type": "object", "properties": fields, "required": list(fields)}


NUMBER_OR_NULL: Final = or_null(NUMBER)
COUNT_OR_NULL: Final = or_null(COUNT)
TEXT_OR_NULL: Final = or_null(TEXT)
TIME_OR_NULL: Final = or_null(TIME)
NUMBERS: Final = list_of(NUMBER)
NUMBERS_OR_NULL: Final = list_of(NUMBER_OR_NULL)
TEXTS: Final = list_of(TEXT)
TIMES: Final = list_of(TIME)
