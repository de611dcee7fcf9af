"""Downloads of results, as all services have them: time enough for the size, and no more."""

from collections.abc import Callable
from pathlib import Path

from musproj.adapters.services.client import SLOWEST_BYTES_PER_S
from musproj.adapters.services.fetch import ResultFetcher
from musproj.ports.remote import Fetched, RemoteOutput

PATIENCE_S = 60.0


def fetch_output(
    fetcher: ResultFetcher, output: RemoteOutput, target: Path, *, max_bytes: int, check: Callable[[], None]
) -> Fetched:
    """Download one result.

    Raises:
        CallError: as `ResultFetcher.fetch`.
        RemoteHostRefusedError: its address leads elsewhere.
    """
    size = output.size if output.size is not None else max_bytes
    found = fetcher.fetch(
        output.url,
        target,
        expected_size=output.size,
        max_bytes=max_bytes,
        check=check,
        deadline_s=PATIENCE_S + size / SLOWEST_BYTES_PER_S,
    )
    return Fetched(size=found.size, sha256=found.sha256, md5=found.md5)
