"""Bodies and query strings: read within limits, decoded by prebuilt decoders, every wrong place named."""

import asyncio
import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import EnumType
from itertools import islice
from typing import Annotated, Any, Generic, Literal, TypeGuard, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UnsetType
from starlette.types import Receive, Scope

from musproj.errors import InvalidError, PayloadTooLargeError, Violation
from musproj.http.refusals import MalformedJsonError, RequestTimeoutError, UnsupportedMediaTypeError

T = TypeVar("T")

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 32
BODY_SECONDS = 30.0
MAX_PARAMETERS = 64
MAX_PLACES = 100
"""How many wrong places of a body are told: finding the nearest name of tens of thousands would take seconds."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_PLACE = re.compile(r" - at `[^`]*`$")


class ClientGoneError(Exception):
    """The client hung up; there is nobody to answer."""


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


async def read_body(scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """Return the whole body of a request, empty where there is none.

    Raises:
        PayloadTooLargeError: it is over the limit, by its declared length or while it arrives.
        UnsupportedMediaTypeError: there is one, and it is not declared as JSON.
        RequestTimeoutError: it arrives too slowly.
        ClientGoneError: it ended early.
    """
    declared = headers.get(b"content-length")
    if declared is None and b"transfer-encoding" not in headers and scope["http_version"] != "2":
        return b""
    if declared is not None and declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _receive(receive)
    except TimeoutError as exc:
        raise RequestTimeoutError(f"The body did not arrive in {BODY_SECONDS:.0f} s.") from exc
    if body:
        _check_media_type(headers.get(b"content-type", b""))
    return body


async def _receive(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        _check_size(body)
        return body
    pieces = bytearray()
    while message["type"] == "http.request":
        pieces += message.get("body", b"")
        _check_size(pieces)
        if not message.get("more_body"):
            return bytes(pieces)
        message = await receive()
    raise ClientGoneError


def _check_size(body: "bytes | bytearray") -> None:
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()


def _too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over {MAX_BODY_BYTES} bytes.", limit="bytes", max=MAX_BODY_BYTES)


def _check_media_type(content_type: bytes) -> None:
    name, _, parameters = content_type.partition(b";")
    charset = parameters.strip().lower()
    if name.strip().lower() != b"application/json" or charset not in (b"", b"charset=utf-8", b'charset="utf-8"'):
        raise UnsupportedMediaTypeError


# ── decoding ─────────────────────────────────────────────────────────────────────────────────────


class BodyDecoder(Generic[T]):
    """Decodes JSON bodies into one Struct type."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> T:
        """Return the decoded body; of two equal keys the last one counts.

        Raises:
            MalformedJsonError: no JSON in UTF-8, a number without bounds, or nested too deep.
            InvalidError: with every place that is wrong.
        """
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            _check_depth(body)
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            return self._explain(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise _malformed(exc) from exc

    def _explain(self, body: bytes) -> T:
        """Return the body after all, where only integers were written as `32.0` (JSON Schema 6.1.1), or say why not."""
        try:
            data = whole_numbers(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise _malformed(exc) from exc
        try:
            return msgspec.convert(data, self._kind)
        except msgspec.ValidationError as exc:
            raise _invalid(wrong_places(self._kind, data, ""), exc, "") from exc


class QueryDecoder(Generic[T]):
    """Decodes query strings into one Struct type."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._default = msgspec.convert({}, kind)
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(typing.cast("Any", kind))}

    def decode(self, query: bytes) -> T:
        """Return the decoded query.

        Raises:
            InvalidError: with every parameter that is unknown, repeated or wrong.
        """
        if not query:
            return self._default
        pairs = _pairs(query)
        values = dict(pairs)
        if len(values) == len(pairs):
            try:
                return msgspec.convert(values, self._kind, strict=False)
            except msgspec.ValidationError:
                pass
        raise InvalidError(violations=tuple(self._wrong(pairs)))

    def _wrong(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Violation]:
        seen: set[str] = set()
        for name, value in pairs:
            field = self._fields.get(name)
            if field is None:
                yield Violation(name, "unknown", _unknown("parameter", name, self._fields))
            elif name in seen:
                yield Violation(name, "repeated", "is given more than once")
            else:
                yield from _wrong_value(field.type, value, name, strict=False)
            seen.add(name)


def refuse_query(query: bytes) -> None:
    """Refuse any parameter: the operation knows none.

    Raises:
        InvalidError: with every parameter.
    """
    if query and (pairs := _pairs(query)):
        raise InvalidError(violations=tuple(Violation(name, "unknown", "unknown parameter") for name, _ in pairs))


def wrong_places(kind: Any, value: Any, pointer: str) -> Iterator[Violation]:
    """Yield every place of `value` that does not fit `kind`."""
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        yield from _wrong_struct(bare, value, pointer)
        return
    inner = _wrong_items(bare, value, pointer)
    first = next(inner, None)
    if first is None:
        yield from _wrong_value(kind, value, pointer, strict=True)
        return
    yield first
    yield from inner


def _wrong_items(bare: Any, value: Any, pointer: str) -> Iterator[Violation]:
    origin, args = typing.get_origin(bare), typing.get_args(bare)
    if origin is list and is_array(value):
        for index, item in enumerate(value):
            yield from wrong_places(args[0], item, f"{pointer}/{index}")
    elif origin is dict and is_object(value) and args[1] is not Any:
        for key, item in value.items():
            yield from wrong_places(args[1], item, f"{pointer}/{escape(key)}")


def whole_numbers(value: Any) -> Any:
    """Return JSON data with each number that is whole as an int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if is_array(value):
        return [whole_numbers(item) for item in value]
    if is_object(value):
        return {key: whole_numbers(item) for key, item in value.items()}
    return value


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Tell whether JSON data is an array."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether JSON data is an object."""
    return isinstance(value, dict)


def escape(key: str) -> str:
    """Return a key as one step of a JSON pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def _wrong_struct(kind: type[msgspec.Struct], value: Any, pointer: str) -> Iterator[Violation]:
    if not is_object(value):
        yield Violation(pointer, "type", "must be an object")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, item in value.items():
        if key in fields:
            yield from wrong_places(fields[key].type, item, f"{pointer}/{key}")
        else:
            yield Violation(f"{pointer}/{escape(key)}", "unknown", _unknown("field", key, fields))
    for key, field in fields.items():
        if field.required and key not in value:
            yield Violation(f"{pointer}/{key}", "required", "this field is required")


def _wrong_value(kind: Any, value: Any, place: str, *, strict: bool) -> Iterator[Violation]:
    if value is None:
        yield Violation(place, "null", "must not be null; leave it out")
        return
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as exc:
        options = _options(_bare(kind))
        yield Violation(place, "invalid", f"must be one of: {', '.join(options)}" if options else _reason(exc))


def _options(bare: Any) -> list[str]:
    options: Iterable[Any] = bare if isinstance(bare, EnumType) else ()
    if typing.get_origin(bare) is Literal:
        options = typing.get_args(bare)
    return [str(option) for option in options]


def _invalid(places: Iterable[Violation], exc: msgspec.ValidationError, place: str) -> InvalidError:
    found = tuple(islice(places, MAX_PLACES))
    return InvalidError(violations=found or (Violation(place, "invalid", _reason(exc)),))


def _reason(exc: msgspec.ValidationError) -> str:
    text = _PLACE.sub("", str(exc)).replace("'^(?:", "'").replace(r")$(?!\\n)'", "'")
    return text[:1].lower() + text[1:]


def _bare(kind: Any) -> Any:
    """Return the type without its annotations and without `UnsetType`."""
    if typing.get_origin(kind) is Annotated:
        return _bare(typing.get_args(kind)[0])
    rest = [part for part in typing.get_args(kind) if part is not UnsetType]
    return _bare(rest[0]) if UnsetType in typing.get_args(kind) and len(rest) == 1 else kind


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown {what}; did you mean {near[0]}?" if near else f"unknown {what}"


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as exc:
        raise InvalidError(f"At most {MAX_PARAMETERS} parameters are allowed.") from exc


def _malformed(exc: Exception) -> MalformedJsonError:
    if isinstance(exc, RecursionError):
        return MalformedJsonError("The body is nested too deep.")
    if isinstance(exc, UnicodeDecodeError):
        return MalformedJsonError("The body is not UTF-8.")
    return MalformedJsonError(f"The body cannot be read: {_reason_of(exc)}.")


def _reason_of(exc: Exception) -> str:
    text = _PLACE.sub("", str(exc)).removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:]


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            raise MalformedJsonError(f"The body is nested deeper than {MAX_DEPTH} levels.")
