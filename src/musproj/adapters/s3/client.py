"""Requests to one bucket: signed here, sent by urllib3, told as our errors where they fail.

Nothing of a URL's query is told or logged: it is a credential as long as it lives.
"""

import http.client
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from musproj.errors import BackendUnavailableError, MissingExtraError, MusProjError

try:
    import urllib3
except ModuleNotFoundError as exc:
    raise MissingExtraError("urllib3", "s3") from exc
from urllib3 import exceptions
from urllib3.connectionpool import HTTPConnectionPool, connection_from_url
from urllib3.response import BaseHTTPResponse

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.errors import refusal, unreachable
from musproj.adapters.s3.exchange import Answer, Question
from musproj.adapters.s3.patience import PATIENT, Patience
from musproj.adapters.s3.signing import QuerySigner
from musproj.ports.storage import BLOCK_BYTES

T = TypeVar("T")

OWN_LIFE_S = 3600
"""Of what we sign for ourselves: whether a store looks at the start of a long upload or at its end is not promised."""
MAX_CONNECTIONS = 32
MAX_BODY_BYTES = 8 << 20
"""Of what is read at once: a page of a listing has 1,000 keys of at most 1 KiB, escaped."""

NETWORK_ERRORS = (exceptions.HTTPError, http.client.HTTPException, OSError)


class S3Client:
    """Asks one bucket; usable from several threads and after a fork."""

    __slots__ = ("_is_closed", "_now", "_patience", "_pools", "_signer", "_sleep", "address")

    def __init__(
        self,
        address: BucketAddress,
        signer: QuerySigner,
        *,
        patience: Patience = PATIENT,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Note where the bucket is; nothing is sent yet.

        `now` is the wall time, not a `Clock`: a store looks at its own, whatever time a test lives in.
        """
        self.address = address
        self._signer = signer
        self._patience = patience
        self._now = now
        self._sleep = sleep
        self._pools: dict[int, HTTPConnectionPool] = {}
        self._is_closed = False

    def ask(self, asked: Question, body: Iterable[bytes] | None = None) -> Answer:
        """Send a request once and return the whole answer.

        Raises:
            MusProjError: it is a refusal, or there is none; what `body` raises comes through.
        """
        response = self.open(asked, body)
        try:
            return _answer(response)
        except NETWORK_ERRORS as exc:
            raise self.broken(asked, exc) from exc
        finally:
            response.close()

    def open(self, asked: Question, body: Iterable[bytes] | None = None) -> BaseHTTPResponse:
        """Send a request once and return the answer with its body still to be read; the caller closes it.

        Raises:
            MusProjError: as `ask`.
        """
        response = self._send(asked, body)
        if response.status < 300:
            return response
        try:
            answer = _answer(response)
        except NETWORK_ERRORS:
            answer = Answer(status=response.status, headers=_lower(response))
        finally:
            response.close()
        raise refusal(answer, asked, self.address, now=self._now(), life_s=OWN_LIFE_S)

    def repeated(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, tried again while the store is away; each call here may be repeated.

        Raises:
            MusProjError: what the last one raised.
        """
        failures = 0
        while True:
            try:
                return call()
            except BackendUnavailableError as exc:
                failures += 1
                self.wait(failures, exc)

    def wait(self, failures: int, error: BackendUnavailableError) -> None:
        """Wait before the next try, or raise `error` where it is time to give up."""
        asked = error.facts.get("retry_after")
        pause = self._patience.pause(failures, asked if isinstance(asked, float) else None)
        if pause is None or self._is_closed:
            raise error
        self._sleep(pause)

    def broken(self, asked: Question, exc: Exception) -> MusProjError:
        """Return the error for an answer that ends too early."""
        return unreachable(asked, self.address, *_reason(exc))

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        self._is_closed = True
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.close()

    def _send(self, asked: Question, body: Iterable[bytes] | None) -> BaseHTTPResponse:
        target = self._signer.target(
            asked.method,
            asked.key,
            at=int(self._now()),
            life_s=OWN_LIFE_S,
            headers=asked.signed,
            query=asked.query,
        )
        # Objects come as they are stored: what a proxy compressed would have another length.
        headers = {"accept-encoding": "identity", **asked.headers, **asked.signed}
        try:
            return self._pool(asked).urlopen(
                asked.method,
                target,
                body=body,  # pyright: ignore[reportArgumentType] - an iterable is what urllib3 documents
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except NETWORK_ERRORS as exc:
            raise self.broken(asked, exc) from exc

    def _pool(self, asked: Question) -> HTTPConnectionPool:
        """Return this process' connections: those of a parent carry its answers."""
        if self._is_closed:
            raise unreachable(asked, self.address, "it was closed here", hint="Open the storage again.")
        pid = os.getpid()
        pool = self._pools.get(pid)
        # No lock, which a fork might catch held: of two pools that are made at once, one is dropped.
        return pool if pool is not None else self._pools.setdefault(pid, self._new_pool())

    def _new_pool(self) -> HTTPConnectionPool:
        logging.getLogger("urllib3.connectionpool").addFilter(_drop_query)
        return connection_from_url(
            self.address.origin,
            maxsize=MAX_CONNECTIONS,
            blocksize=BLOCK_BYTES,
            timeout=urllib3.Timeout(connect=self._patience.connect_s, read=self._patience.read_s),
        )


def _answer(response: BaseHTTPResponse) -> Answer:
    body = response.read(MAX_BODY_BYTES)
    if response.read(1):
        raise http.client.HTTPException("The answer is too long.")
    return Answer(status=response.status, headers=_lower(response), body=body)


def _lower(response: BaseHTTPResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _reason(exc: Exception) -> tuple[str, str | None]:
    """Return what went wrong, in words of our own: the library's may hold the URL."""
    if isinstance(exc, exceptions.SSLError):
        return "TLS fails", "Is its certificate valid, and does the endpoint begin with the right scheme?"
    if isinstance(exc, exceptions.NameResolutionError):
        return "its name cannot be resolved", None
    if isinstance(exc, exceptions.NewConnectionError):
        return "no connection can be made", None
    if isinstance(exc, exceptions.TimeoutError):
        return "it took too long", None
    return "the connection broke", "Try again."


def _drop_query(record: logging.LogRecord) -> bool:
    """Cut the query off every URL that urllib3 logs."""
    if isinstance(record.args, tuple):
        record.args = tuple(_without_query(value) for value in record.args)
    return True


def _without_query(value: object) -> object:
    return value.partition("?")[0] if isinstance(value, str) else value
