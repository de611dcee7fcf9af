"""Redis behind its schemes, `redis://` and `rediss://`."""

import logging
from functools import partial
from urllib.parse import urlsplit

from musproj.ports.plugin import OpenedMetadata, PluginContext
from musproj.registry import require

log = logging.getLogger(__name__)

_HERE = ("localhost", "127.0.0.1", "::1")


def open_metadata(url: str, context: PluginContext) -> OpenedMetadata:
    """Open records on a Redis; nothing is sent before it is needed.

    Raises:
        MissingExtraError: the client library is not installed.
        ConfigurationError: the URL is wrong.
    """
    for module in ("redis", "hiredis"):
        require(module, "redis")
    from musproj.adapters.redis.accounts import RedisAccounts
    from musproj.adapters.redis.assets import RedisAssetStore
    from musproj.adapters.redis.backend import RedisBackend
    from musproj.adapters.redis.connection import RedisConnection
    from musproj.adapters.redis.health import check_writable, examine
    from musproj.adapters.redis.jobs import RedisJobStore
    from musproj.adapters.redis.keys import Keys

    connection = RedisConnection(url)
    parts = urlsplit(url)
    if parts.scheme == "redis" and parts.hostname not in _HERE:
        log.warning(
            "Redis at %s is spoken to without TLS.",
            connection.where,
            extra={"action": "redis_plain", "host": parts.hostname},
        )
    backend = RedisBackend(
        connection=connection,
        keys=Keys(context.redis_prefix),
        rules=context.rules,
        clock=None if context.has_server_time else context.clock,
        wait_ms=context.redis_wait_ms,
    )
    return OpenedMetadata(
        assets=RedisAssetStore(backend),
        jobs=RedisJobStore(backend),
        close=connection.close,
        accounts=RedisAccounts(backend),
        backend=backend,
        check_writable=partial(check_writable, backend),
        examine=partial(examine, backend, context.queue_name),
    )
