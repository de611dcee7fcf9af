"""What all requests of one app share."""

from collections.abc import Callable
from urllib.parse import urlsplit

import attrs
from starlette.types import Scope

from musproj.composition import MusProj
from musproj.domain.ids import Owner
from musproj.http.hop import Pools
from musproj.http.readiness import Readiness
from musproj.http.watch import JobWatcher
from musproj.settings import Settings

Authenticate = Callable[[Scope], Owner]
"""The seam from request to owner; raises `UnauthenticatedError`."""


@attrs.frozen(kw_only=True)
class Pages:
    """The API's description, made once."""

    document: bytes
    docs: bytes
    style: bytes
    etag: str


@attrs.frozen(kw_only=True, eq=False)
class Site:
    """The installation behind an app, and what the app itself holds."""

    mp: MusProj
    authenticate: Authenticate
    pools: Pools
    watcher: JobWatcher
    readiness: Readiness
    pages: Pages

    @classmethod
    def of(cls, mp: MusProj, authenticate: Authenticate, pages: Pages) -> "Site":
        """Return the site of an installation."""
        pools = Pools()
        return cls(
            mp=mp,
            authenticate=authenticate,
            pools=pools,
            watcher=JobWatcher(mp.metadata.jobs, pools.metadata),
            readiness=Readiness(mp),
            pages=pages,
        )


def prefix_of(settings: Settings) -> str:
    """Return the path that every route begins with, without a trailing slash."""
    path = settings.root_path.strip("/")
    return f"/{path}" if path else ""


def public_path_of(settings: Settings) -> str | None:
    """Return the path of the public URL, under which clients find the routes; None where no URL is set."""
    return urlsplit(settings.public_url).path.rstrip("/") if settings.public_url else None
