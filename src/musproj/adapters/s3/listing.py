"""A page of ListObjectsV2."""

from collections.abc import Iterator
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import attrs

from musproj.adapters.s3.objects import iso_time, plain_etag
from musproj.domain.keys import ObjectKey
from musproj.ports.storage import StoredObject

PAGE = 1000
"""What S3 gives at most."""


class PageError(ValueError):
    """The answer is no page of a listing."""


@attrs.frozen
class Page:
    """Some objects, and where to go on."""

    objects: tuple[StoredObject, ...]
    next_token: str | None


def page_query(prefix: str, token: str | None) -> dict[str, str]:
    """Return the fields that ask for a page; keys come percent-encoded, as XML cannot hold every character."""
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE)}
    if prefix:
        query["prefix"] = prefix
    if token is not None:
        query["continuation-token"] = token
    return query


def page_of(body: bytes) -> Page:
    """Read an answer.

    Raises:
        PageError: it cannot be read.
    """
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        # Entities may grow without bound, and no store sends any.
        raise PageError("it declares entities")
    try:
        root = ET.fromstring(body)  # noqa: S314 - see above
        token = _text(root, "NextContinuationToken")
        is_encoded = _text(root, "EncodingType") == "url"
        objects = tuple(_objects(root, is_encoded=is_encoded))
    except (ET.ParseError, ValueError) as exc:
        raise PageError("it is no listing") from exc
    is_more = _text(root, "IsTruncated") == "true"
    if is_more and not token:
        raise PageError("it names no next page")
    return Page(objects, token if is_more else None)


def _objects(root: ET.Element, *, is_encoded: bool) -> Iterator[StoredObject]:
    for entry in root.iterfind("{*}Contents"):
        key = _text(entry, "Key") or ""
        modified = _text(entry, "LastModified")
        yield StoredObject(
            key=ObjectKey(unquote_plus(key, errors="strict") if is_encoded else key),
            size_bytes=int(_text(entry, "Size") or ""),
            etag=plain_etag(_text(entry, "ETag") or ""),
            modified_at=iso_time(modified) if modified else None,
        )


def _text(element: ET.Element, name: str) -> str | None:
    """Return the text of a child, in whichever namespace the store puts it."""
    return element.findtext(f"{{*}}{name}")
