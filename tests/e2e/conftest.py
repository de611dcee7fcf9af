"""Installations to kill: the embedded one, and its twin on Redis, RQ and an S3 bucket."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest

from musproj.testing.workers import Installation


@attrs.frozen
class Deployment:
    """Makes installations of one kind, each new and empty."""

    name: str
    stores: Callable[[], dict[str, str]] = dict

    def __call__(self, folder: Path, **options: Any) -> Installation:
        return Installation(folder=folder, stores=self.stores(), **options)


@pytest.fixture(params=["embedded", "distributed"])
def deploy(request) -> Deployment:
    if request.param == "embedded":
        return Deployment("embedded")
    redis_server = request.getfixturevalue("redis_server")
    swift_server = request.getfixturevalue("swift_server")
    return Deployment("distributed", lambda: stores_on(redis_server, swift_server))


def stores_on(redis_server, swift_server) -> dict[str, str]:
    """Return the settings of a new installation on these servers; each has a queue and a prefix of its own."""
    name = uuid4().hex[:8]
    return {
        "storage": f"s3://{swift_server.bucket}?endpoint={swift_server.endpoint}&region={swift_server.region}",
        "redis_url": redis_server.url,
        "redis_prefix": f"{name}:",
        "queue_name": f"audio-jobs-{name}",
        "s3_access_key_id": swift_server.access_key,
        "s3_secret_access_key": swift_server.secret_key,
    }
