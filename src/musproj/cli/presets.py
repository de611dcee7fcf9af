"""`musproj presets`: named jobs."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields, Table

if TYPE_CHECKING:
    from musproj.application.presets import Preset

app = new_app("Jobs with a name of their own.")


@app.callback(invoke_without_command=True, epilog=examples("musproj presets", "musproj presets show podcast"))
@command
def default(call: Call, context: typer.Context) -> None:
    """List the presets, or show one of them; MUSPROJ_PRESETS names their file."""
    if context.invoked_subcommand is None:
        _list(call)


@app.command("list", epilog=examples("musproj presets list --json"))
@command
def list_(call: Call) -> None:
    """List the presets."""
    _list(call)


def _list(call: Call) -> None:
    from musproj.cli import wire
    from musproj.composition import open_catalog

    presets = open_catalog(call.settings()).presets
    rows = [(name, preset.type, preset.description) for name, preset in sorted(presets.items())]
    call.out.result(
        "presets",
        lambda: wire.presets(presets.values()),
        ids=sorted(presets),
        shape=lambda _: Table(("name", "type", "description"), rows),
    )
    if not presets and not call.settings().presets:
        call.out.note("There is none; MUSPROJ_PRESETS names their file.")


@app.command("show", epilog=examples("musproj presets show podcast --json"))
@command
def show(call: Call, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a preset.")]) -> None:
    """Show what a preset runs."""
    from musproj.application.presets import preset_named
    from musproj.cli import wire
    from musproj.composition import open_catalog

    found = preset_named(name, open_catalog(call.settings()).presets)
    call.out.result("preset", lambda: wire.preset(found), ids=[name], shape=lambda _: _fields(found))


def _fields(preset: "Preset") -> Fields:
    pairs = [("name", preset.name), ("type", preset.type), ("description", preset.description)]
    pairs += [
        (f"-p {key}", value if isinstance(value, str) else json.dumps(value)) for key, value in preset.params.items()
    ]
    return Fields([(name, value) for name, value in pairs if value])
