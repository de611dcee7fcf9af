"""What the TOML files that describe a processor have in common: parameters, outputs, and names in braces.

What is wrong with a table is told by a ValueError or TypeError that names the key.
"""

import re
from collections.abc import Iterable, Mapping
from keyword import iskeyword
from typing import Any, Literal, cast

import attrs
from attrs.validators import and_, ge, in_, instance_of, le

from musproj.ports.processor import Port

PLACEHOLDER = re.compile(r"\{([a-z_\x80-\U0010ffff][a-z0-9_.\x80-\U0010ffff-]*)\}", re.IGNORECASE)
"""A name in braces; wider than what names are, so that one that is mistaken is told, and never goes through as text."""
PUBLISHES = ("version", "attachment")

_PARAM = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE | re.ASCII)
"""It becomes an argument of Python's, which drops a leading _ and takes other letters as their like (PEP 3131)."""
_KINDS: Mapping[str, type] = {"number": float, "integer": int, "boolean": bool}
_OUTPUT_KEYS = {"extension", "kind", "media_type"}


def placeholders(texts: Iterable[str]) -> list[str]:
    """Return the names in braces."""
    return [name for text in texts for name in PLACEHOLDER.findall(text)]


def refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ValueError for the first of the names in braces that nothing is put in for."""
    there = set(known)
    for name in names:
        if name not in there:
            raise ValueError(f"{{{name}}} is unknown; known: {', '.join(sorted(there))}")


def as_text(value: object) -> str:
    """Return a parameter's value as it is written within other text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")  # no exponent: not every program reads one
    return str(value)


def output_ports(tables: Mapping[str, Any], *, needs_extension: bool) -> tuple[Port, ...]:
    """Return the ports of the `outputs` tables, the primary one first."""
    if not tables or not all(_is_output(*table, needs_extension=needs_extension) for table in tables.items()):
        known = 'extension = "wav"' if needs_extension else 'kind = "tempo"'
        raise ValueError(f"outputs must be tables such as: [outputs.tempo] {known}")
    return tuple(
        Port(name, table.get("kind", name), (table.get("media_type", "audio/*"),)) for name, table in tables.items()
    )


def _is_output(name: str, output: Any, *, needs_extension: bool) -> bool:
    if not isinstance(output, dict) or not name.replace("-", "_").isidentifier():
        return False
    table = cast("dict[str, Any]", output)
    return (
        table.keys() <= (_OUTPUT_KEYS if needs_extension else _OUTPUT_KEYS - {"extension"})
        and all(isinstance(value, str) for value in table.values())
        and (not needs_extension or str(table.get("extension", "")).isalnum())
    )


def params_class(name: str, tables: Mapping[str, Any]) -> type:
    """Return an attrs class of the parameters; every one is a number, a flag or a choice, and none free text.

    Every default lies within its own bounds.
    """
    fields: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    for param, table in tables.items():
        fields[param], annotations[param] = _param(param, table)
    made = attrs.make_class(name, fields, frozen=True, kw_only=True)
    made.__annotations__ = annotations
    made()
    return made


def _param(name: str, table: Any) -> tuple[Any, Any]:
    if not _PARAM.fullmatch(name) or not isinstance(table, dict):
        raise ValueError(f"params.{name} must be a table, and its name one of the letters a-z, digits and _")
    if iskeyword(name) or name == "self":
        raise ValueError(f"params.{name}: a parameter cannot have this name, which Python keeps for itself")
    facts = cast("dict[str, Any]", table)
    unknown = facts.keys() - {"type", "default", "min", "max", "unit", "description", "choices"}
    if unknown or "default" not in facts:
        raise ValueError(
            f"params.{name}: {', '.join(sorted(unknown)) + ' is unknown' if unknown else 'default is missing'}"
        )
    metadata = {key: facts[key] for key in ("unit", "description") if key in facts}
    if facts.get("type") == "choice":
        given = facts.get("choices")
        choices = tuple(cast("list[object]", given)) if isinstance(given, list) else ()
        if not choices or not all(isinstance(choice, str) for choice in choices):
            raise ValueError(f"params.{name}: choices must be texts")
        return attrs.field(default=facts["default"], validator=in_(choices), metadata=metadata), Literal[choices]
    kind = _KINDS.get(str(facts.get("type", "")))
    if kind is None:
        raise ValueError(f"params.{name}: type must be one of: {', '.join((*_KINDS, 'choice'))}")
    if kind is bool:
        return attrs.field(default=facts["default"], validator=instance_of(bool), metadata=metadata), bool
    if "min" not in facts or "max" not in facts:
        raise ValueError(f"params.{name}: min and max are missing")
    least, most, default = (_number(name, key, facts[key], kind) for key in ("min", "max", "default"))
    field = attrs.field(
        default=default, validator=and_(ge(least), le(most)), metadata=metadata | {"min": least, "max": most}
    )
    return field, kind


def _number(name: str, key: str, value: object, kind: type) -> Any:
    allowed = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise TypeError(f"params.{name}: {key} must be {'an integer' if kind is int else 'a number'}")
    try:
        return kind(value)
    except OverflowError as exc:
        raise ValueError(f"params.{name}: {key} is too large") from exc
