"""What only HTTP refuses; everything else is in `musproj.errors`.

MusProjError
├── UnauthenticatedError     no key, or a wrong one
├── MisdirectedError         the Host header names another server
├── MalformedJsonError   UnsupportedMediaTypeError   RequestTimeoutError   HeadersTooLargeError
├── MethodNotAllowedError    the path is there, the method is not
└── RouteNotFoundError       (a NotFoundError) there is no such path
"""

from collections.abc import Iterable

from musproj.errors import MusProjError, NotFoundError


class UnauthenticatedError(MusProjError):
    """A valid API key is needed."""

    code = "unauthenticated"


class MisdirectedError(MusProjError):
    """This server does not answer for that host."""

    code = "misdirected_request"


class MalformedJsonError(MusProjError):
    """The body is no JSON document in UTF-8."""

    code = "malformed_json"


class UnsupportedMediaTypeError(MusProjError):
    """The body must be application/json."""

    code = "unsupported_media_type"


class RequestTimeoutError(MusProjError):
    """The request arrived too slowly."""

    code = "request_timeout"
    retryable = True


class HeadersTooLargeError(MusProjError):
    """The header block is over the limit."""

    code = "headers_too_large"


class MethodNotAllowedError(MusProjError):
    """The resource does not know this method."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        """Keep what the `Allow` header says."""
        self.allow = ", ".join(allowed)
        super().__init__(f"{method} is not allowed here; allowed: {self.allow}.")


class RouteNotFoundError(NotFoundError):
    """There is no such path."""
