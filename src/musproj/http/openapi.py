"""The OpenAPI 3.1 document, made from the declarations, and the rules that keep client generators happy.

A property whose schema is a union with null is silently dropped by Swift's generator, hence the rules: an optional
property is one that `required` does not name, and null is nowhere.
"""

import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from musproj import __version__
from musproj.errors import BackendUnavailableError, InvalidError, MusProjError, PayloadTooLargeError
from musproj.http import schemas
from musproj.http.decoding import is_array, is_object
from musproj.http.headers import KEY_PATTERN, MAX_KEY_LENGTH
from musproj.http.operations import PATH_TYPES, Operation
from musproj.http.problems import TITLES, status_of
from musproj.http.queries import PageQuery
from musproj.http.refusals import (
    HeadersTooLargeError,
    MalformedJsonError,
    MisdirectedError,
    RequestTimeoutError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)

Json = dict[str, Any]

DESCRIPTION = """\
Uploads straight into a bucket, immutable versions, background processing, signed downloads.

Names are camelCase; an absent value is an absent key, never null; times are RFC 3339 in UTC. Errors are
`application/problem+json`: programs look at `code`. Enums may gain values and answers may gain keys, so keep a case
for what you do not know. A URL that begins with `/_store/` is signed: send it as it was given.
"""

TAGS: Mapping[str, str] = {
    "uploads": "Send audio straight to the store, then confirm it.",
    "assets": "Recordings with all their versions.",
    "versions": "Immutable states of an asset.",
    "jobs": "Processing in the background.",
    "processors": "What job types there are.",
    "services": "For outside services that work for jobs.",
    "health": "For load balancers and whoever restarts servers.",
}

_SUCCESS: Mapping[int, str] = {200: "Done.", 201: "Made.", 202: "Accepted.", 204: "Done; there is nothing to tell."}
_REF = "#/components/schemas/{name}"
_METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

_TEXT: Json = {"type": "string"}
_REQUEST_HEADERS: Mapping[str, tuple[str, str, Json]] = {
    "is_conditional": ("If-None-Match", "Entity tags that the client has; 304 where one is the present one.", _TEXT),
    "is_guarded": ("If-Match", "Entity tags of which the asset must have one; else 412.", _TEXT),
    "is_idempotent": (
        "Idempotency-Key",
        "The same key with the same request has one effect, for 7 days.",
        {**_TEXT, "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": KEY_PATTERN},
    ),
    "waits": ("Prefer", "`wait=N`: hold the request up to N seconds, 1 to 30, until there is news.", _TEXT),
}

_ANSWER_HEADERS: Mapping[str, str] = {
    "ETag": "Strong entity tag.",
    "Location": "Where it is.",
    "Retry-After": "Seconds after which to ask again; absent once the job has ended.",
    "Link": "The next page, as RFC 8288 says.",
    "Idempotent-Replayed": "`true` where the key had been used.",
    "Preference-Applied": "The wait that was applied.",
}


# ── the document ─────────────────────────────────────────────────────────────────────────────────


def document(operations: Iterable[Operation]) -> Json:
    """Return the OpenAPI document of `operations`."""
    shown = [operation for operation in operations if not operation.is_hidden]
    paths: dict[str, Json] = {}
    for operation in sorted(shown, key=lambda operation: list(TAGS).index(operation.tag)):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "musproj", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _components(shown),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not asked for by a server without MUSPROJ_API_KEY, which only its own host reaches.",
                }
            },
        },
    }


def _operation(operation: Operation) -> Json:
    entry: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": {str(status): answer for status, answer in sorted(_responses(operation))},
    }
    if operation.body is not None:
        entry["requestBody"] = {
            "required": not operation.is_body_optional,
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    if operation.is_public:
        entry["security"] = []
    return {key: value for key, value in entry.items() if value or key != "parameters"}


def _path_parameters(operation: Operation) -> Iterator[Json]:
    for name in operation.path_names:
        yield {"name": name, "in": "path", "required": True, **_described(msgspec.json.schema(PATH_TYPES[name]))}


def _query_parameters(operation: Operation) -> Iterator[Json]:
    if operation.query is None:
        return
    found = _schemas([operation.query])
    for name, schema in found.pop(operation.query.__name__)["properties"].items():
        yield {"name": name, "in": "query", "required": False, **_described(_inlined(schema, found))}


def _header_parameters(operation: Operation) -> Iterator[Json]:
    for flag, (name, text, schema) in _REQUEST_HEADERS.items():
        if getattr(operation, flag):
            yield {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


def _described(schema: Json) -> Json:
    """Return the schema of a parameter with its description where OpenAPI wants it."""
    plain = {key: value for key, value in schema.items() if key not in ("description", "title")}
    text = schema.get("description")
    return {"description": text, "schema": plain} if text else {"schema": plain}


def _inlined(schema: Json, found: Mapping[str, Json]) -> Json:
    return found[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _responses(operation: Operation) -> Iterator[tuple[int, Json]]:
    answer: Json = {"description": _SUCCESS[operation.status]}
    fields = dict(_answer_headers(operation))
    if fields:
        answer["headers"] = fields
    if operation.returns is not None:
        answer["content"] = {"application/json": {"schema": _ref(operation.returns)}}
    yield operation.status, answer
    if operation.is_conditional:
        yield 304, {"description": "It is as the client knows it."}
    for status, text in operation.also.items():
        # Where the operation itself fails, the same status comes with a problem.
        content = {**answer["content"], **_problem([])["content"]} if status >= 400 else None
        yield status, {"description": text, **({"content": content} if content else {})}
    for status, codes in _errors(operation).items():
        if status not in operation.also:
            yield status, _problem(codes)


def _answer_headers(operation: Operation) -> Iterator[tuple[str, Json]]:
    names = {
        "ETag": operation.returns in (schemas.Asset, schemas.Version, schemas.Job),
        "Location": operation.has_location,
        "Retry-After": operation.has_retry_after,
        "Link": operation.query is not None and issubclass(operation.query, PageQuery),
        "Idempotent-Replayed": operation.is_idempotent,
        "Preference-Applied": operation.waits,
    }
    for name, is_sent in names.items():
        if is_sent:
            yield name, {"description": _ANSWER_HEADERS[name], "schema": {"type": "string"}}


def _errors(operation: Operation) -> Mapping[int, Sequence[str]]:
    """Return the error codes of an operation by status: its own, then those that its declaration implies."""
    kinds: list[type[MusProjError]] = [*operation.errors, InvalidError, MisdirectedError, HeadersTooLargeError]
    if not operation.is_public:
        kinds.append(UnauthenticatedError)
    if operation.body is not None:
        kinds += [MalformedJsonError, RequestTimeoutError, PayloadTooLargeError, UnsupportedMediaTypeError]
    if operation.pool != "loop":
        kinds.append(BackendUnavailableError)
    kinds.append(MusProjError)
    found: dict[int, list[str]] = {}
    for kind in kinds:
        codes = found.setdefault(status_of(kind.code), [])
        if kind.code not in codes:
            codes.append(kind.code)
    return found


def _problem(codes: Sequence[str]) -> Json:
    return {
        "description": "\n".join(f"`{code}`: {TITLES[code]}." for code in codes),
        "content": {"application/problem+json": {"schema": _ref(schemas.Problem)}},
    }


def _ref(kind: type) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}


def _components(operations: Iterable[Operation]) -> Json:
    kinds = {kind.__name__: kind for operation in operations for kind in (operation.body, operation.returns) if kind}
    return dict(sorted(_schemas([*kinds.values(), schemas.Problem]).items()))


def _schemas(kinds: Sequence[type]) -> dict[str, Json]:
    _, found = msgspec.json.schema_components(kinds, ref_template=_REF)
    return {name: typing.cast("Json", _mended(schema)) for name, schema in found.items()}


def _mended(schema: Any) -> Any:
    """Return a schema with what msgspec leaves out: the type of string enums, the format of times."""
    if is_array(schema):
        return [_mended(part) for part in schema]
    if not is_object(schema):
        return schema
    mended: Json = {key: _mended(value) for key, value in schema.items()}
    if "type" not in mended and all(isinstance(value, str) for value in mended.get("enum", [None])):
        mended = {"type": "string", **mended}
    if mended.get("required") == []:
        del mended["required"]
    return mended


# ── the rules ────────────────────────────────────────────────────────────────────────────────────


def lint(document: Json) -> list[str]:
    """Return what would break or mislead a generated client; nothing where all is well."""
    found = [*_lint_schemas(document, "#"), *_lint_times(document)]
    ids: set[str] = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            place = f"{method.upper()} {path}"
            found += [f"{place}: {finding}" for finding in _lint_operation(method, operation)]
            if operation.get("operationId") in ids:
                found.append(f"{place}: operationId {operation['operationId']} is taken")
            ids.add(operation.get("operationId", ""))
    return found


def _lint_operation(method: str, operation: Json) -> Iterator[str]:
    if method not in _METHODS:
        yield "no HTTP method"
    if not re.fullmatch(r"[a-z][A-Za-z0-9]*", operation.get("operationId", "")):
        yield "operationId is not lowerCamelCase"
    if len(operation.get("tags", [])) != 1:
        yield "not one tag"
    if not operation.get("summary"):
        yield "no summary"
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if status.startswith(("4", "5")) and not content:
            yield f"{status} has no body"
        problem = content.get("application/problem+json")
        if problem is not None and problem != {"schema": _ref(schemas.Problem)}:
            yield f"{status} is no plain Problem"


def _lint_schemas(node: Any, place: str) -> Iterator[str]:
    """Yield nullable unions and untyped enums, anywhere."""
    if is_array(node):
        for index, part in enumerate(node):
            yield from _lint_schemas(part, f"{place}/{index}")
    if not is_object(node):
        return
    for union in ("anyOf", "oneOf"):
        if {"type": "null"} in node.get(union, []):
            yield f"{place}: nullable union"
    if node.get("type") == "null" or (isinstance(node.get("type"), list) and "null" in node["type"]):
        yield f"{place}: null"
    if "enum" in node and isinstance(node["enum"], list) and "type" not in node:
        yield f"{place}: enum without a type"
    for key, part in node.items():
        yield from _lint_schemas(part, f"{place}/{key}")


def _lint_times(document: Json) -> Iterator[str]:
    """Yield properties that are named like times and have not their format."""
    for name, schema in document["components"]["schemas"].items():
        for key, entry in schema.get("properties", {}).items():
            if (key.endswith("At") or key == "at") and entry.get("format") != "date-time":
                yield f"{name}.{key}: no date-time"
