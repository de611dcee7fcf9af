"""`musproj assets`: list, show, name, promote, delete."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_group
from musproj.cli.paging import All, Cursor, Limit, Ndjson, Since, pages, stream, tell_more

if TYPE_CHECKING:
    from musproj import Asset, AssetId, AssetView, MusProj
    from musproj.ports.assets import Page

app = new_group("Assets and their versions.")

AssetArgument = Annotated[str, typer.Argument(metavar="ASSET", help="Id of an asset.")]
AssetArguments = Annotated[list[str], typer.Argument(metavar="ASSET...", help="Ids of assets, `-` or @list.")]

NEWEST = '"$(musproj assets list -q --limit 1)"'
"""How an example names an asset that is there."""


@app.command("list", epilog=examples("musproj assets list --since 1d --limit 50"))
@command
def list_(
    call: Call,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="pending, ready or deleted.")] = None,
    since: Since = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    every: All = False,
    ndjson: Ndjson = False,
) -> None:
    """List assets, newest first.

    Deleted ones only with `--status deleted`.
    """
    from musproj import DEFAULT_OWNER, AssetStatus
    from musproj.cli import references, tables, wire
    from musproj.ports.assets import AssetFilter

    wanted = references.choice(AssetStatus, status, "--status")
    with call.open() as mp:
        filters = AssetFilter(status=wanted, created_after=references.since(since, mp.clock.now()))

        def read(size: int, at: str | None) -> "Page[Asset]":
            return mp.assets.list(DEFAULT_OWNER, filters, limit=size, cursor=at)

        if ndjson:
            for page in stream(read, limit, cursor, every=every):
                for asset in page.items:
                    call.out.event("asset", wire.asset(asset))
            return
        page = pages(read, limit, cursor, every=every)
    call.out.result(
        "assets",
        lambda: wire.asset_page(page),
        ids=[asset.asset_id for asset in page.items],
        shape=lambda form: tables.assets(form, page.items),
    )
    tell_more(call.out, page)


@app.command("show", epilog=examples(f"musproj assets show {NEWEST}"))
@command
def show(call: Call, assets: AssetArguments) -> int:
    """Show assets with their newest 20 versions."""
    from musproj import DEFAULT_OWNER

    return _each(call, assets, lambda mp, asset: mp.assets.get(DEFAULT_OWNER, asset))


@app.command("versions", epilog=examples(f"musproj assets versions {NEWEST}"))
@command
def versions(call: Call, asset: AssetArgument, limit: Limit = 20, cursor: Cursor = None, every: All = False) -> None:
    """List the versions of an asset, newest first."""
    from musproj import DEFAULT_OWNER
    from musproj.cli import tables, wire
    from musproj.cli.references import asset_id

    wanted = asset_id(asset)
    with call.open() as mp:
        page = pages(
            lambda size, at: mp.assets.versions(DEFAULT_OWNER, wanted, limit=size, cursor=at),
            limit,
            cursor,
            every=every,
        )
    call.out.result(
        "versions",
        lambda: wire.version_page(page),
        ids=[f"{wanted}@{version.number}" for version in page.items],
        shape=lambda form: tables.versions(form, page.items),
    )
    tell_more(call.out, page)


@app.command("rename", epilog=examples(f"musproj assets rename {NEWEST} 'Take two'"))
@command
def rename(
    call: Call,
    asset: AssetArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name; an empty one removes it.")],
) -> int:
    """Give an asset another name."""
    from musproj import DEFAULT_OWNER

    return _each(call, [asset], lambda mp, found: mp.assets.rename(DEFAULT_OWNER, found, name or None))


@app.command("promote", epilog=examples(f"musproj assets promote {NEWEST} 1", f"musproj assets promote {NEWEST} auto"))
@command
def promote(
    call: Call,
    asset: AssetArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number; `auto` lets it move by itself again.")],
) -> int:
    """Pin the head, which downloads and jobs take.

    It is the version of a download or a job that names none.
    """
    from musproj import DEFAULT_OWNER
    from musproj.errors import InvalidError

    if version != "auto" and not version.isdecimal():
        raise InvalidError(f"A version to promote is a number or 'auto', not {version!r}.")
    number = None if version == "auto" else int(version)
    return _each(call, [asset], lambda mp, found: mp.assets.promote(DEFAULT_OWNER, found, number))


@app.command("delete", epilog=examples(f"musproj assets delete {NEWEST}"))
@command
def delete(call: Call, assets: AssetArguments) -> int:
    """Delete assets.

    They leave the lists now; their objects go after seven days, until when `undelete` helps.
    """
    from musproj import DEFAULT_OWNER

    return _each(call, assets, lambda mp, asset: mp.assets.delete(DEFAULT_OWNER, asset))


@app.command("undelete", epilog=examples("musproj assets list -q --status deleted | musproj assets undelete -"))
@command
def undelete(call: Call, assets: AssetArguments) -> int:
    """Take a deletion back while the objects are there."""
    from musproj import DEFAULT_OWNER

    return _each(call, assets, lambda mp, asset: mp.assets.undelete(DEFAULT_OWNER, asset))


def _each(call: Call, texts: Sequence[str], action: "Callable[[MusProj, AssetId], Asset | AssetView]") -> int:
    """Do one thing to each asset and print what became of it."""
    from musproj.cli import failures
    from musproj.cli.references import asset_id, expand

    wanted = list(expand(texts))
    with call.open() as mp:
        done = list(failures.each(call.out, wanted, lambda text: action(mp, asset_id(text))))
    _print(call, done, is_single=len(wanted) == 1)
    return failures.outcome(wanted, done)


def _print(call: Call, done: "Sequence[Asset | AssetView]", *, is_single: bool) -> None:
    from musproj.application.assets import AssetView
    from musproj.cli import tables, wire

    records = [found.asset if isinstance(found, AssetView) else found for found in done]
    views = [found if isinstance(found, AssetView) else AssetView(asset=found, versions=()) for found in done]
    call.out.result(
        "asset" if is_single else "assets",
        lambda: wire.asset(done[0]) if is_single else wire.assets(done),
        ids=[record.asset_id for record in records],
        shape=lambda form: tables.asset(form, views[0]) if is_single else tables.assets(form, records),
    )
