"""The app: declarations, middleware and the store's door, put together."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from musproj.errors import MissingExtraError

try:
    import msgspec
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send
except ModuleNotFoundError as exc:
    raise MissingExtraError(str(exc.name).partition(".")[0], "server") from exc

from musproj.composition import MusProj
from musproj.http import docs, openapi
from musproj.http.auth import Hosts, by_key
from musproj.http.background import chores
from musproj.http.middleware import Cors, Envelope, Gate
from musproj.http.refusals import RouteNotFoundError
from musproj.http.resources import Resource
from musproj.http.routes import API
from musproj.http.site import Authenticate, Pages, Site, prefix_of, public_path_of
from musproj.http.store import store_routes
from musproj.http.table import RouteTable


class MusProjApp(Starlette):
    """A Starlette app whose errors are problems, so that Starlette's own error handling is left out."""

    site: Site

    def build_middleware_stack(self) -> ASGIApp:
        """Return the routes with our middleware around them."""
        settings = self.site.mp.settings
        public_path = public_path_of(settings)
        resources = [Resource(self.site, operations, public_path) for operations in API.by_path().values()]
        app: ASGIApp = RouteTable(resources, behind=self.router)
        app = Gate(app, hosts=Hosts.of(settings), prefix=prefix_of(settings))
        app = Envelope(app)
        return Cors(app, origins=settings.cors_origins) if settings.cors_origins else app


def create_app(mp: MusProj, *, authenticate: Authenticate | None = None, background: bool = True) -> MusProjApp:
    """Return the HTTP API of an opened installation, which the caller closes.

    Args:
        mp: The installation.
        authenticate: From request to owner; by default the API key of the settings, where one is set.
        background: Whether the app's lifespan also looks at the timers and after uploads.
    """
    settings = mp.settings
    site = Site.of(mp, authenticate or by_key(settings.api_key), _pages())
    gate = mp.opened_storage.gate
    routes = store_routes(gate, site.pools.bucket.run) if gate is not None else ()
    app = MusProjApp(routes=routes, lifespan=lambda _app: _lifespan(site, background=background))
    app.site = site
    app.router.redirect_slashes = False
    app.router.default = _nothing_here(site)
    return app


def _pages() -> Pages:
    described = openapi.document(API.operations)
    document = msgspec.json.encode(described)
    return Pages(
        document=document,
        docs=docs.page(described).encode(),
        style=docs.STYLE.encode(),
        etag=f'"{hashlib.sha256(document).hexdigest()[:20]}"',
    )


def _nothing_here(site: Site) -> ASGIApp:
    async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        site.authenticate(scope)
        raise RouteNotFoundError

    return nothing_here


@asynccontextmanager
async def _lifespan(site: Site, *, background: bool) -> AsyncGenerator[None]:
    try:
        if background:
            async with chores(site):
                yield
        else:
            yield
    finally:
        await site.watcher.close()
        site.pools.close()
