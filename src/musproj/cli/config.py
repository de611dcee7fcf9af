"""`musproj config`: what the settings are, and where each came from."""

from typing import Annotated

import typer

from musproj.cli.call import Call, command, examples, new_group
from musproj.cli.output import Fields, Table

app = new_group("The settings, and where each came from.")


@app.command("show", epilog=examples("musproj config show --origin"))
@command
def show(
    call: Call, origin: Annotated[bool, typer.Option("--origin", help="Also where each value came from.")] = False
) -> None:
    """Show every setting; of a secret only whether there is one.

    Flags override the environment, that overrides ./musproj.toml, that ~/.config/musproj/config.toml.
    """
    from musproj.settings import env_name, origins

    found = origins(call.flags)
    width = 3 if origin else 2
    call.out.result(
        "config",
        lambda: {
            "data": [
                {"name": env_name(item.name), "value": item.shown, "origin": item.source, "secret": item.is_secret}
                for item in found
            ]
        },
        ids=[env_name(item.name) for item in found],
        shape=lambda _: Table(
            ("setting", "value", "origin")[:width],
            [(env_name(item.name), item.shown, item.source)[:width] for item in found],
        ),
    )


@app.command("check", epilog=examples("musproj config check"))
@command
def check(call: Call) -> None:
    """Read every source, without connecting to anything."""
    from musproj.services import keys_of, pairs, policy_of
    from musproj.settings import without_password

    settings = call.settings()
    policy_of(settings)
    keys_of(settings)
    pairs(settings.engines, "engines")
    stores = {"storage": settings.storage_url, "metadata": settings.metadata_url, "queue": settings.queue_url}
    shown = [(name, without_password(url)) for name, url in stores.items()]
    call.out.result("configCheck", lambda: {"ok": True, **dict(shown)}, ids=[], shape=lambda _: Fields(shown))
