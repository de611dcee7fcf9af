"""The table of routes: one look by the first segment, where Starlette would try every path in turn."""

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from musproj.http.resources import Resource


class RouteTable:
    """Finds the resource of a path; what it does not know goes on to the app behind it."""

    def __init__(self, resources: Iterable[Resource], behind: ASGIApp) -> None:
        self._behind = behind
        self._by_head: dict[str, list[tuple[re.Pattern[str], Resource]]] = {}
        for resource in resources:
            entry = (_compiled(resource.path), resource)
            self._by_head.setdefault(_head(resource.path), []).append(entry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the resource answer."""
        if scope["type"] == "http":
            path: str = scope["path"].removeprefix(scope.get("root_path", ""))
            for pattern, resource in self._by_head.get(_head(path), ()):
                found = pattern.fullmatch(path)
                if found is not None:
                    scope["route"], scope["path_params"] = resource, found.groupdict()
                    await resource(scope, receive, send)
                    return
        await self._behind(scope, receive, send)


def _head(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _compiled(template: str) -> re.Pattern[str]:
    """Return a pattern in which each `{name}` is one segment of the path."""
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))
