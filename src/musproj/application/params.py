"""A processor's parameters: from JSON or `key=value` text to its attrs class, and its JSON Schema.

Wire names are the camelCase of the field names. The canonical form has every default filled in.
"""

import difflib
import inspect
import json
import math
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import attrs

from musproj.errors import InvalidParamsError, Violation

_JSON_TYPES = {float: "number", int: "integer", bool: "boolean", str: "string"}
_BOUNDS = {
    operator.ge: "minimum",
    operator.le: "maximum",
    operator.gt: "exclusiveMinimum",
    operator.lt: "exclusiveMaximum",
}
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@attrs.frozen
class Form:
    """How a parameter that is no plain value looks in JSON; under `form` in the metadata of its field."""

    read: Callable[[object], object]
    """JSON → value; raises InvalidParamsError, whose pointers begin with `/params`."""
    write: Callable[[Any], object]
    """Value → JSON, every default filled in."""
    schema: Mapping[str, object]


def camel(name: str) -> str:
    """Return the wire name of a field."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def parse(params_class: type, data: Mapping[str, object]) -> Any:
    """Return `data` as an instance of `params_class`.

    Raises:
        InvalidParamsError: with every unknown key, wrong type and value out of range.
    """
    fields = _fields(params_class)
    violations: list[Violation] = []
    values: dict[str, object] = {}
    for key, value in data.items():
        field = fields.get(key)
        if field is None:
            violations.append(_unknown(key, fields))
            continue
        try:
            values[field.name] = _checked(params_class, field, _read(params_class, field, value))
        except InvalidParamsError as exc:
            violations += exc.violations
        except (ValueError, TypeError) as exc:
            violations.append(Violation(f"/params/{escaped(key)}", "invalid", _reason(exc, field)))
    violations += [
        Violation(f"/params/{key}", "required", "this parameter is required")
        for key, field in fields.items()
        if field.default is attrs.NOTHING and key not in data
    ]
    if violations:
        raise InvalidParamsError(violations=tuple(violations))
    try:
        return params_class(**values)
    except (ValueError, TypeError) as exc:
        raise InvalidParamsError(violations=(Violation("/params", "invalid", _text_of(exc)),)) from exc


def typed_pairs(params_class: type, pairs: Iterable[str]) -> dict[str, object]:
    """Return `key=value` texts as JSON values of the declared types, not yet checked against their ranges.

    Raises:
        InvalidParamsError: a text without `=`.
    """
    fields = _fields(params_class)
    data: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InvalidParamsError(f"{pair!r} is no key=value.", hint="Write it like: -p targetLufs=-16")
        key = key if key in fields else camel(key)
        data[key] = _typed(params_class, fields[key], text) if key in fields else text
    return data


def canonical(params: object) -> dict[str, object]:
    """Return the JSON form with every default filled in; None is an absent key."""
    kind: Any = type(params)
    values = {name: (field, getattr(params, field.name)) for name, field in _fields(kind).items()}
    return {
        name: value if (form := _form(field)) is None else form.write(value)
        for name, (field, value) in values.items()
        if value is not None
    }


def schema(params_class: type) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of `params_class`."""
    fields = _fields(params_class)
    document: dict[str, object] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _property(params_class, field) for key, field in fields.items()},
    }
    required = [key for key, field in fields.items() if field.default is attrs.NOTHING]
    if required:
        document["required"] = required
    return document


@cache
def _fields(params_class: type) -> dict[str, "attrs.Attribute[Any]"]:
    """Return the fields by their names on the wire: a class's own first, then those that it shares with others."""
    order = {name: place for place, owner in reversed([*enumerate(params_class.__mro__)]) for name in _declared(owner)}
    fields = sorted(attrs.fields(params_class), key=lambda field: order[field.name])
    return {camel(field.name): field for field in fields}


def _form(field: "attrs.Attribute[Any]") -> Form | None:
    found: Form | None = field.metadata.get("form")
    return found


def _read(params_class: type, field: "attrs.Attribute[Any]", value: object) -> object:
    form = _form(field)
    return _coerce(value, _type_of(params_class, field)) if form is None else form.read(value)


def _typed(params_class: type, field: "attrs.Attribute[Any]", text: str) -> object:
    if _form(field) is None:
        return _from_text(text, _type_of(params_class, field))
    with suppress(ValueError):
        return json.loads(text)
    return text


def _declared(owner: type) -> Iterable[str]:
    return inspect.get_annotations(owner)


def _type_of(params_class: type, field: "attrs.Attribute[Any]") -> Any:
    return _hints(params_class)[field.name]


@cache
def _hints(params_class: type) -> Mapping[str, Any]:
    """Return the types of the fields; resolving them costs more than all checks together."""
    return typing.get_type_hints(params_class)


def _strip_optional(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(kind) if part is not type(None)]
        return rest[0], True
    return kind, False


def _coerce(value: object, kind: Any) -> object:
    """Return `value` as `kind`; a JSON integer is a number, and `32.0` is the integer 32 (JSON Schema, 6.1.1)."""
    kind, _ = _strip_optional(kind)
    if typing.get_origin(kind) is Literal:
        options = typing.get_args(kind)
        if value not in options or isinstance(value, bool) != isinstance(options[0], bool):
            msg = "must be one of " + ", ".join(str(option) for option in options)
            raise ValueError(msg)
        return options[options.index(value)]  # 16.0 is the integer 16
    if kind is bool or isinstance(value, bool):
        if kind is not bool or not isinstance(value, bool):
            raise TypeError(_expected(kind, value))
        return value
    if kind is float and isinstance(value, int | float):
        return _finite(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, kind):
        raise TypeError(_expected(kind, value))
    return value


def _checked(params_class: type, field: "attrs.Attribute[Any]", value: object) -> object:
    if field.validator is not None:
        field.validator(params_class, field, value)
    return value


def _from_text(text: str, kind: Any) -> object:
    kind, _ = _strip_optional(kind)
    if typing.get_origin(kind) is Literal:
        by_text = {str(option): option for option in typing.get_args(kind)}
        return by_text.get(text, text)
    if kind is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _finite(value: float) -> float:
    """Return `value` as a float; an integer of JSON may be too large for one."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        msg = "must be a finite number"
        raise ValueError(msg)
    return number


def _expected(kind: Any, value: object) -> str:
    return f"must be {_JSON_TYPES.get(kind, kind)}, got {type(value).__name__}"


def _reason(exc: Exception, field: "attrs.Attribute[Any]") -> str:
    """Return the reason in the caller's words; attrs' own texts name the Python field."""
    limits = _bounds(field)
    if limits and "must be" in _text_of(exc) and field.name in _text_of(exc):
        unit = field.metadata.get("unit")
        low, high = limits.get("minimum"), limits.get("maximum")
        text = f"must be {low} to {high}" if None not in (low, high) else f"must be {limits}"
        return f"{text} {unit}" if unit else text
    return _text_of(exc).replace(f"'{field.name}'", camel(field.name))


def _text_of(exc: Exception) -> str:
    return str(exc.args[0]) if exc.args else type(exc).__name__


def _unknown(key: str, fields: Mapping[str, object]) -> Violation:
    near = difflib.get_close_matches(key, fields, n=1)
    detail = f"unknown parameter; did you mean {near[0]}?" if near else f"unknown parameter; known: {', '.join(fields)}"
    return Violation(f"/params/{escaped(key)}", "unknown", detail)


def escaped(key: str) -> str:
    """Return `key` as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _property(params_class: type, field: "attrs.Attribute[Any]") -> dict[str, object]:
    kind, _ = _strip_optional(_type_of(params_class, field))
    entry: dict[str, object] = {}
    form = _form(field)
    if form is not None:
        entry |= form.schema
    elif typing.get_origin(kind) is Literal:
        options = list(typing.get_args(kind))
        kinds = list(dict.fromkeys(_JSON_TYPES[type(option)] for option in options))
        entry |= {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": options}
    else:
        entry["type"] = _JSON_TYPES[kind]
        among = getattr(field.validator, "options", None)  # of attrs.validators.in_
        if among is not None:
            entry["enum"] = list(among)
    entry |= _bounds(field)
    for key, name in (("description", "description"), ("unit", "x-unit")):
        if key in field.metadata:
            entry[name] = field.metadata[key]
    if field.default is not attrs.NOTHING and field.default is not None:
        entry["default"] = field.default
    return entry


def _bounds(field: "attrs.Attribute[Any]") -> dict[str, float]:
    """Return the numeric limits, from the validators where they are attrs' own, else from the metadata."""
    found: dict[str, float] = {}
    for name, key in (("min", "minimum"), ("max", "maximum")):
        if name in field.metadata:
            found[key] = field.metadata[name]
    pending: list[Any] = [field.validator]
    while pending:
        validator = pending.pop()
        pending += [*getattr(validator, "_validators", ()), *filter(None, [getattr(validator, "validator", None)])]
        compare = _BOUNDS.get(getattr(validator, "compare_func", None))  # type: ignore[arg-type]  # None: not one of these
        if compare is not None:
            found[compare] = validator.bound
    return found
