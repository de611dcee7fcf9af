"""The table of routes: one look by the first segment, where Starlette would try every path in turn."""

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from musproj.http.resources import Resource


class RouteTable(BaseRoute):
    """All resources of the API as one route."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_head: dict[str, list[tuple[re.Pattern[str], Resource]]] = {}
        for resource in resources:
            entry = (_compiled(resource.path), resource)
            self._by_head.setdefault(_head(resource.path), []).append(entry)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Find the resource of a path."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        for pattern, resource in self._by_head.get(_head(path), ()):
            found = pattern.fullmatch(path)
            if found is not None:
                return Match.FULL, {"route": resource, "endpoint": resource, "path_params": found.groupdict()}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the resource answer."""
        resource: Resource = scope["endpoint"]
        await resource(scope, receive, send)


def _head(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _compiled(template: str) -> re.Pattern[str]:
    """Return a pattern in which each `{name}` is one segment of the path."""
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))
