"""`musproj run`: one processor on local files, without a store and without a queue."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, import_from_here, new_app
from musproj.cli.output import Document, Fields, Form
from musproj.cli.submit import Params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from musproj import AudioInfo, Processor, Settings
    from musproj.application.oneoff import OneOff, OneOffResult, WrittenFile

app = new_app()


@app.command(
    "run",
    epilog=examples(
        "musproj run analyze take.wav --json", "musproj run enhance take.wav -o loud.wav -p targetLufs=-14 --force"
    ),
)
@command
def run(
    call: Call,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="A processor (`musproj processors`), a preset, `package.module:object`, or a command as FILE.toml.",
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="IN", help="An audio file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="File to write; a folder where there are several."),
    ] = None,
    param: Params = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="PORT=FILE", help="Of a further port; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Process a local file at once.

    It takes no data folder, no network and no queue.
    """
    from musproj.application import params
    from musproj.cli.libraries import require_libraries
    from musproj.settings import use_one_thread

    files = _inputs(source, inputs or ())
    use_one_thread()  # before numpy is loaded: for arrays of a block its threads cost more than they bring
    settings = call.settings()
    given = _given(kind)
    kind = given[0].spec.name if given else kind
    with _machine(settings, given) as machine, call.progress(kind) as report:
        preset = machine.catalog.presets.get(kind)
        name = preset.type if preset else kind
        spec = machine.catalog.get(name).spec
        require_libraries(spec)
        values = {**(preset.params if preset else {}), **params.typed_pairs(spec.params, param or ())}
        result = machine.run(
            name,
            files,
            values,
            output=output,
            force=force,
            on_progress=lambda percent, stage: report(percent / 100, stage or ""),
        )
    for warning in result.warnings:
        call.out.note(f"warning[{warning['code']}]: {warning['message']}")
    call.out.result(
        "run",
        lambda: _document(result),
        ids=[str(file.path) for file in result.files],
        shape=lambda form: _fields(form, result),
    )


def _given(kind: str) -> "tuple[Processor, ...]":
    """Return the processor that a dotted path or a file names: whoever types a command may import what he likes."""
    from musproj.composition import given_processor

    if ":" not in kind and not kind.endswith(".toml"):
        return ()
    import_from_here()
    return (given_processor(kind),)


@contextmanager
def _machine(settings: "Settings", given: "tuple[Processor, ...]") -> Generator["OneOff"]:
    from musproj.application.models import ModelFolder
    from musproj.application.oneoff import OneOff
    from musproj.composition import open_catalog, open_probe

    with closing(open_probe(settings)) as probe:
        # Whoever types a command may read what he likes.
        models = ModelFolder(settings.models_folder, takes_paths=True)
        yield OneOff(catalog=open_catalog(settings, given), probe=probe, models=models)


def _inputs(source: Path, further: "Sequence[str]") -> dict[str, Path]:
    from musproj.cli.files import readable
    from musproj.errors import InvalidError

    files = {"input": readable(source)}
    for text in further:
        port, equals, path = text.partition("=")
        if not equals:
            raise InvalidError(f"{text!r} is no PORT=FILE.", hint="Write it like: --input reference=other.wav")
        files[port] = readable(Path(path))
    return files


def _document(result: "OneOffResult") -> Document:
    """Return the facts themselves, as in a job's `result`, and beside them the files."""
    files = {"files": [_file(file) for file in result.files]} if result.files else {}
    return {**result.data, **files}


def _file(file: "WrittenFile") -> Document:
    known = {"name": file.name, "kind": file.kind, "path": str(file.path), "size": file.size_bytes}
    return {**known, "sha256": file.sha256, **_audio(file.info)}


def _audio(info: "AudioInfo | None") -> Document:
    if info is None:
        return {}
    facts = {"duration": info.duration, "sampleRate": info.sample_rate, "channels": info.channels}
    return {name: value for name, value in facts.items() if value is not None}


def _fields(form: Form, result: "OneOffResult") -> Fields:
    from musproj.cli import tables

    files = [(file.name, f"{file.path}  {form.size(file.size_bytes)}") for file in result.files]
    return Fields([*files, *tables.result(result.data)])
