"""A processor that is another program: what to run, told by a TOML file, without a shell.

    name = "tempo"
    version = "1"
    summary = "Faster, at the same pitch"
    program = "ffmpeg"
    arguments = ["-nostdin", "-f", "wav", "-i", "{input}", "-af", "atempo={params.factor}", "-y", "{output}"]

    [outputs.tempo]
    extension = "wav"

    [params.factor]
    type = "number"
    default = 1.25
    min = 0.5
    max = 2.0

The program never sees an uploaded file: each input is decoded first, and it reads a plain WAV of the same samples.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from musproj.application.processor_file import PUBLISHES, output_ports, params_class, placeholders, refuse_unknown
from musproj.application.toml_file import read_toml
from musproj.errors import ConfigurationError
from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.command_template import Template

_TOP: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "version": str,
    "summary": str,
    "program": str,
    "arguments": list,
    "inputs": list,
    "outputs": dict,
    "params": dict,
    "publishes": str,
    "moves_head": bool,
    "memory_mb": int,
    "speed": (int, float),
    "timeout_seconds": (int, float),
    "concurrency": int,
}
_NEEDED = ("name", "version", "program", "arguments", "outputs")


@attrs.frozen(slots=False)
class Command(Processor):
    """Runs a program on decoded copies of the inputs, in the work folder."""

    document: Mapping[str, Any] = attrs.field(repr=False)
    """The file's content; `read_command` has checked it."""

    @cached_property
    def _spec(self) -> ProcessorSpec:
        given = self.document
        optional = ("moves_head", "memory_mb", "speed", "timeout_seconds", "concurrency", "publishes")
        return ProcessorSpec(
            name=given["name"],
            version=given["version"],
            summary=given.get("summary", f"Runs {Path(given['program']).name}"),
            params=params_class("CommandParams", given.get("params", {})),
            inputs=tuple(Port(name, "source") for name in given.get("inputs", ["input"])),
            outputs=output_ports(given["outputs"], needs_extension=True),
            preload=("numpy", "soundfile", "musproj.processors._runs.command_run"),
            extra="audio",
            requires=("numpy", "soundfile"),
            programs=(given["program"],),
            **{key: given[key] for key in optional if key in given},
        )

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return self._spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Be carried to another process as the document, from which the rest is made anew."""
        return Command, (dict(self.document),)

    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:
        """Decode the inputs, run the program, and hand over what it wrote.

        Raises:
            ProcessingError: an input cannot be read, or the program failed; the text ends with its last words.
            ConfigurationError: the program is not installed here.
        """
        from musproj.processors._runs.command_run import Run

        document = self.document
        template = Template(
            program=document["program"],
            arguments=tuple(document["arguments"]),
            outputs={name: f"{name}.{output['extension']}" for name, output in document["outputs"].items()},
        )
        return Run(self.spec, template, inputs, params, ctx).outcome()


def read_command(path: Path) -> Command:
    """Return the processor that a TOML file describes.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the text tells what.
    """
    document = read_toml(path)
    try:
        _check(document)
        found = Command(document)
        _ = found.spec
    except (ValueError, TypeError, KeyError) as exc:
        raise ConfigurationError(f"{path}: {exc.args[0]}", path=str(path)) from exc
    return found


def _check(document: Mapping[str, Any]) -> None:
    """Raise a ValueError that names what is wrong."""
    for key in _NEEDED:
        if key not in document:
            raise ValueError(f"{key} is missing")
    for key, value in document.items():
        if key not in _TOP:
            raise ValueError(f"{key} is unknown; known: {', '.join(_TOP)}")
        if not isinstance(value, _TOP[key]):
            raise TypeError(f"{key} has the wrong type")
    if document.get("publishes", "version") not in PUBLISHES:
        raise ValueError(f"publishes must be one of: {', '.join(PUBLISHES)}")
    output_ports(document["outputs"], needs_extension=True)
    _check_arguments(document)


def _check_arguments(document: Mapping[str, Any]) -> None:
    arguments: Sequence[Any] = document["arguments"]
    if not all(isinstance(argument, str) for argument in arguments):
        raise ValueError("arguments must be texts")
    inputs: Sequence[Any] = document.get("inputs", ["input"])
    if not inputs or not all(isinstance(name, str) and name.isidentifier() for name in inputs):
        raise ValueError("inputs must be names of ports")
    known = {*inputs, *(f"output.{name}" for name in document["outputs"]), "output"}
    known |= {f"params.{name}" for name in document.get("params", {})}
    refuse_unknown(placeholders(arguments), known)
