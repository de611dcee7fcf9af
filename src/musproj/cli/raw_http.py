"""Requests sent as they are: no redirect is followed, no proxy taken, no header added that could be signed."""

import http.client
import urllib.error
import urllib.request
from typing import IO, Any

from musproj.application.bucket_requests import HttpReply, HttpRequest

TIMEOUT = 15.0
_MOST_BYTES = 1 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Gives a redirect back as the answer that it is."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        """Follow nothing."""


def fetch(request: HttpRequest) -> HttpReply:
    """Send `request` and return the reply, whatever its status.

    Raises:
        OSError: there is no answer.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    asked = urllib.request.Request(request.url, request.body, dict(request.headers), method=request.method)  # noqa: S310 - made by our own store
    try:
        with opener.open(asked, timeout=TIMEOUT) as reply:
            return _read(reply.status, reply.reason, reply.headers, reply)
    except urllib.error.HTTPError as exc:
        with exc:
            return _read(exc.code, exc.reason, exc.headers, exc)
    except http.client.HTTPException as exc:
        raise OSError(f"the server speaks no HTTP: {type(exc).__name__}") from exc


def _read(status: int, reason: str, headers: Any, body: IO[bytes]) -> HttpReply:
    return HttpReply(
        status=status,
        reason=reason,
        headers={name.lower(): value for name, value in headers.items()},
        body=body.read(_MOST_BYTES),
    )
