"""What an account has at any service over HTTP: connections, and downloads with time enough for their size."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import httpx

from musproj.adapters.services.client import SLOWEST_BYTES_PER_S, ApiClient
from musproj.adapters.services.fetch import ResultFetcher
from musproj.ports.remote import DEFAULT_ACCOUNT, CallClass, CallError, Fetched, RemoteOutput, RemoteService

PATIENCE_S: Final = 60.0
"""For a result of any size."""
UPLOAD_ANSWER_S: Final = 300.0
"""For the answer to an upload, whose bytes the service may store first."""


@attrs.frozen(kw_only=True)
class HttpAccount(RemoteService):
    """One account at one service. Usable from several threads at once."""

    api: ApiClient = attrs.field(repr=False)
    fetcher: ResultFetcher = attrs.field(repr=False)
    transport: httpx.BaseTransport = attrs.field(repr=False)
    """Under both; closed with the account."""

    @property
    def account(self) -> str:
        """The only one."""
        return DEFAULT_ACCOUNT

    def fetch(self, output: RemoteOutput, target: Path, *, max_bytes: int, check: Callable[[], None]) -> Fetched:
        """Download a result; the key goes along to the API's own host alone.

        Raises:
            CallError: it cannot be had.
            RemoteHostRefusedError: it, or where it redirects to, is on no permitted host.
        """
        size = output.size if output.size is not None else max_bytes
        return self.fetcher.fetch(
            output.url,
            target,
            expected_size=output.size,
            max_bytes=max_bytes,
            check=check,
            deadline_s=PATIENCE_S + size / SLOWEST_BYTES_PER_S,
        )

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def is_refusal(exc: CallError) -> bool:
    """Tell whether the service understood a call and said no, which a stop or a delete of what is over may be."""
    return exc.kind is CallClass.REJECTED and exc.status is not None and 400 <= exc.status < 500
