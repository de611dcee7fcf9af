"""Health: is the process there, does the installation work, has the server begun."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from musproj.http import schemas
from musproj.http.operations import Api, Call, Reply
from musproj.http.readiness import CheckResult

api = Api()


@api.op("GET", "/healthz", id="getHealth", tag="health", pool="loop", is_public=True)
def get_health(call: Call[None, None]) -> Reply[schemas.Health]:  # noqa: ARG001 - every handler gets the call
    """Tell that the process answers."""
    return Reply(content=schemas.Health(status="ok"), cache_control="no-store")


@api.op("GET", "/startupz", id="getStartup", tag="health", pool="loop", is_public=True)
def get_startup(call: Call[None, None]) -> Reply[schemas.Health]:  # noqa: ARG001 - every handler gets the call
    """Tell that the server has begun: it listens only after that."""
    return Reply(content=schemas.Health(status="ok"), cache_control="no-store")


@api.op(
    "GET",
    "/readyz",
    id="getReadiness",
    tag="health",
    pool="bucket",
    is_public=True,
    also={503: "Something does not work; with the key, `checks` tells what."},
)
def get_readiness(call: Call[None, None]) -> Reply[schemas.Health]:
    """Tell whether every part of the installation works."""
    results = call.site.readiness.look()
    is_ready = all(result.is_ok for result in results.values())
    return Reply(
        content=schemas.Health(
            status="ok" if is_ready else "unavailable", checks=_checks(results) if call.is_known else UNSET
        ),
        status=200 if is_ready else 503,
        cache_control="no-store",
    )


def _checks(results: Mapping[str, CheckResult]) -> Any:
    return {
        part: schemas.Check(ok=result.is_ok, detail=UNSET if result.detail is None else result.detail)
        for part, result in results.items()
    }
