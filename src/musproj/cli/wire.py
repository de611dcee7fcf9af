"""Domain records as the documents of `--json`: the HTTP API's own field names and forms.

The wire types are imported when a document is made: without `--json` nobody needs them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from musproj.application.assets import AssetView
from musproj.application.presets import Preset
from musproj.cli.output import Document
from musproj.domain.asset import Asset
from musproj.domain.job import Job
from musproj.domain.version import Version
from musproj.ports.assets import Page
from musproj.ports.processor import ProcessorSpec


def asset(found: Asset | AssetView) -> Document:
    """Return an asset, with its newest versions where they were read."""
    from musproj.http import schemas

    return _plain(schemas.to_asset_view(found) if isinstance(found, AssetView) else schemas.to_asset(found))


def asset_page(page: Page[Asset]) -> Document:
    """Return a page of assets."""
    from musproj.http import schemas

    return _plain(schemas.to_asset_page(page))


def assets(found: Iterable[Asset | AssetView]) -> Document:
    """Return several assets."""
    return {"data": [asset(one) for one in found]}


def version(found: Version) -> Document:
    """Return a version, with its provenance where it was read."""
    from musproj.http import schemas

    return _plain(schemas.to_version(found))


def version_page(page: Page[Version]) -> Document:
    """Return a page of versions."""
    from musproj.http import schemas

    return _plain(schemas.to_version_page(page))


def job(found: Job, *, with_attempts: bool = False) -> Document:
    """Return a job."""
    from musproj.http import schemas

    return _plain(schemas.to_job(found, with_attempts=with_attempts))


def jobs(found: Iterable[Job]) -> Document:
    """Return several jobs."""
    return {"data": [job(one) for one in found]}


def job_page(page: Page[Job]) -> Document:
    """Return a page of jobs."""
    from musproj.http import schemas

    return _plain(schemas.to_job_page(page))


def processor(spec: ProcessorSpec) -> Document:
    """Return what a processor declares."""
    from musproj.http import schemas

    return _plain(schemas.to_processor(spec))


def presets(found: Iterable[Preset]) -> Document:
    """Return the presets of an installation."""
    from musproj.http import schemas

    return _plain(schemas.to_presets(found))


def preset(found: Preset) -> Document:
    """Return a preset."""
    from musproj.http import schemas

    return _plain(schemas.to_preset(found))


def processors(specs: Sequence[ProcessorSpec]) -> Document:
    """Return what every processor declares."""
    from musproj.http import schemas

    return _plain(schemas.to_processors(specs))


def _plain(answer: object) -> Document:
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(answer)
    return document
