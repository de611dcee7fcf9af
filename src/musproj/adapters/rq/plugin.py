"""The queue behind its schemes, `rq+redis:` and `rq+rediss:`."""

from urllib.parse import parse_qs, urlsplit

from musproj.adapters.rq.records import Backend, Records
from musproj.errors import ConfigurationError
from musproj.ports.plugin import OpenedMetadata, PluginContext
from musproj.ports.queue import JobQueue
from musproj.registry import require


def open_queue(url: str, context: PluginContext, metadata: OpenedMetadata) -> JobQueue:
    """Open the queue on the Redis where the records are: a job and its delivery are one transaction there.

    Raises:
        MissingExtraError: RQ is not installed.
        ConfigurationError: the records are elsewhere.
    """
    require("rq", "redis")
    from musproj.adapters.rq.queue import RqQueue

    backend, records = metadata.backend, metadata.jobs
    if not isinstance(backend, Backend) or not isinstance(records, Records) or not _is_at(backend, url):
        raise ConfigurationError(
            f"The queue {_shown(url)} must be on the Redis of MUSPROJ_METADATA.", hint="Leave MUSPROJ_QUEUE empty."
        )
    return RqQueue(backend, records, context.queue_name)


def _is_at(backend: Backend, url: str) -> bool:
    """Tell whether the address names the same server and database."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query).get("db", [parts.path.strip("/")])[0] or "0"
    where = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    return (where, asked) == (backend.connection.where, str(backend.connection.database))


def _shown(url: str) -> str:
    """Return the address without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or 6379}{parts.path}"
