"""`musproj processors`: what this installation can do with audio."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields, Table

if TYPE_CHECKING:
    from musproj import ProcessorSpec

app = new_app("The processors of this installation.")


@app.callback(invoke_without_command=True, epilog=examples("musproj processors", "musproj processors show enhance"))
@command
def default(call: Call, context: typer.Context) -> None:
    """List the processors, or show one of them."""
    if context.invoked_subcommand is None:
        _list(call)


@app.command("list", epilog=examples("musproj processors list --json"))
@command
def list_(call: Call) -> None:
    """List the processors with what each publishes.

    One that cannot run here names what is missing.
    """
    _list(call)


def _list(call: Call) -> None:
    from musproj.cli import wire
    from musproj.composition import open_catalog

    catalog = open_catalog(call.settings())
    specs, broken = catalog.specs(), [plugin for plugin in catalog.plugins() if plugin.error is not None]
    rows = [(spec.name, spec.version, _publishes(spec), _state(spec), spec.summary) for spec in specs]
    rows += [(plugin.name, "", "", f"does not load: {plugin.error}", "") for plugin in broken]
    call.out.result(
        "processors",
        lambda: wire.processors(specs),
        ids=[spec.name for spec in specs],
        shape=lambda _: Table(("name", "version", "publishes", "state", "summary"), sorted(rows)),
    )


@app.command("show", epilog=examples("musproj processors show analyze"))
@command
def show(call: Call, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a processor.")]) -> None:
    """Show what a processor takes and makes."""
    from musproj.cli import wire
    from musproj.composition import open_catalog

    spec = open_catalog(call.settings()).get(name).spec
    call.out.result("processor", lambda: wire.processor(spec), ids=[spec.name], shape=lambda _: _fields(spec))


def _publishes(spec: "ProcessorSpec") -> str:
    kind = spec.outputs[0].kind if spec.publishes == "version" and spec.outputs else ""
    return " ".join(filter(None, (spec.publishes, kind)))


def _state(spec: "ProcessorSpec") -> str:
    from musproj.registry import missing_for, missing_modules

    missing = missing_for(spec)
    if not missing:
        return "ready"
    return f"needs pip install 'musproj[{spec.extra}]'" if missing_modules(spec.requires) else f"needs {missing[0]}"


def _fields(spec: "ProcessorSpec") -> Fields:
    from musproj.application.params import schema

    declared = schema(spec.params)
    properties: Mapping[str, Mapping[str, Any]] = declared["properties"]  # type: ignore[assignment]  # JSON Schema
    pairs = [
        ("name", f"{spec.name} {spec.version}"),
        ("summary", spec.summary),
        ("state", _state(spec)),
        ("publishes", _publishes(spec)),
        ("inputs", ", ".join(port.name for port in spec.inputs)),
        ("outputs", ", ".join(port.name for port in spec.outputs)),
        *((f"-p {name}", _parameter(entry)) for name, entry in properties.items()),
    ]
    return Fields([(name, value) for name, value in pairs if value])


def _parameter(entry: Mapping[str, Any]) -> str:
    """Return a parameter's type, range, default and meaning on one line."""
    kind = "|".join(map(str, entry["enum"])) if "enum" in entry else entry["type"]
    low, high = entry.get("minimum"), entry.get("maximum")
    parts = [
        kind,
        f"{low:g} to {high:g}" if low is not None and high is not None else "",
        entry.get("x-unit", ""),
        f"default {_as_typed(entry['default'])}" if "default" in entry else "",
        f"– {entry['description']}" if "description" in entry else "",
    ]
    return " ".join(filter(None, parts))


def _as_typed(value: object) -> str:
    """Return a value as `-p` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
