"""Run one processor on local files, without a store and without a queue."""

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.digests import blocks_of, sha256_of
from musproj.application.execution_context import CallbackPulse, RunContext
from musproj.application.execution_outputs import Output, check_outputs, check_result
from musproj.application.inputs import check_ports
from musproj.application.models import NO_MODELS, ModelFolder
from musproj.domain.job import SINGLE_PORT
from musproj.errors import ConflictError, InvalidError, NeedsJobError, Violation
from musproj.ports.processor import AudioInfo, AudioProbe, InputFile, ProcessorSpec

FORMAT = "format"
"""The parameter by which processors are told the container of their output."""


@attrs.frozen(kw_only=True)
class WrittenFile:
    """One file that was put where the caller wanted it."""

    name: str
    """The output port."""
    kind: str
    path: Path
    size_bytes: int
    sha256: str
    info: AudioInfo | None


@attrs.frozen(kw_only=True)
class OneOffResult:
    """What a run made."""

    processor: str
    processor_version: str
    params: Mapping[str, object]
    """Canonical: every default filled in."""
    files: Sequence[WrittenFile]
    data: Mapping[str, object]
    """What would be the `result` of a job."""
    warnings: Sequence[Mapping[str, object]]
    """Each with `code` and `message`; they are in `data` too."""


@attrs.frozen(kw_only=True)
class OneOff:
    """Runs processors in the calling process."""

    catalog: Catalog
    probe: AudioProbe
    models: ModelFolder = NO_MODELS

    def run(
        self,
        name: str,
        inputs: Mapping[str, Path] | Path,
        raw_params: Mapping[str, object] | None = None,
        *,
        output: Path | None = None,
        force: bool = False,
        on_progress: Callable[[int, str | None], None] = lambda _percent, _stage: None,
    ) -> OneOffResult:
        """Process `inputs` (by port; a mere path is the port `input`) and write the files to `output`.

        `output` is a file where the processor makes one, a folder where it makes several. Files appear complete or
        not at all; an existing one stays unless `force`. `on_progress` gets percent and stage.

        Raises:
            UnknownJobTypeError: no such processor.
            InvalidParamsError: a parameter is unknown or out of range.
            InvalidError: a port is unknown or missing, or `output` does not fit the processor.
            ConflictError: a file is there already.
            FileNotFoundError: an input is not there.
            ProcessingError: the input is at fault.
            NeedsJobError: it is paid work of an outside service.
            MissingExtraError: a library is not installed.
        """
        processor = self.catalog.get(name)
        checked = _parse(processor.spec, raw_params or {}, output)
        spec = processor.spec.given(checked)
        if spec.task is not None:
            raise NeedsJobError.of(name, "".join(f"-p {key}={value} " for key, value in (raw_params or {}).items()))
        given = {SINGLE_PORT: inputs} if isinstance(inputs, Path) else inputs
        check_ports(spec, given, single=f"/inputs/{SINGLE_PORT}")
        target = _Target(spec=spec, output=output, force=force)
        target.check()
        files = {
            port: InputFile(path=path, sha256=sha256_of(blocks_of(path)), info=None) for port, path in given.items()
        }
        with target.folder() as workdir:
            ctx = RunContext(workdir, CallbackPulse(on_progress), self.models)
            outcome = processor.run(files, checked, ctx)
            outputs = check_outputs(spec, outcome, workdir, self.probe)
            data = check_result(outcome, ctx.warnings) or {}
            written = target.place(outputs)
        on_progress(100, None)
        return OneOffResult(
            processor=spec.name,
            processor_version=spec.version,
            params=params.canonical(checked),
            files=written,
            data=data,
            warnings=ctx.warnings,
        )


@attrs.frozen(kw_only=True)
class _Target:
    """Where the files go."""

    spec: ProcessorSpec
    output: Path | None
    force: bool

    def check(self) -> None:
        """Refuse, before any work is done, what could not be written afterwards."""
        if not self.spec.outputs:
            if self.output is not None:
                raise _invalid_output(f"{self.spec.name} writes no file, it only gives a result")
            return
        if self.output is None:
            raise _invalid_output(f"{self.spec.name} writes files; say where with -o")
        if self._is_several and self.output.exists() and not self.output.is_dir():
            raise _invalid_output(f"{self.spec.name} writes several files, but {self.output} is no folder")
        if not self._is_several and self.output.is_dir():
            raise _invalid_output(f"{self.output} is a folder, but {self.spec.name} writes one file")
        if not self._is_several and self.output.exists() and not self.force:
            raise _taken(self.output)

    @contextmanager
    def folder(self) -> Generator[Path]:
        """Yield a private folder on the target's file system, so that a rename puts files there whole."""
        with tempfile.TemporaryDirectory(prefix=".musproj-", dir=self._home) as name:
            yield Path(name)

    def place(self, outputs: Sequence[Output]) -> list[WrittenFile]:
        """Move the files to where they were wanted, or none of them where one is taken."""
        places = [(output, self._place_of(output)) for output in outputs]
        for _, path in places:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not self.force:
                raise _taken(path)
        return [self._move(output, path) for output, path in places]

    def _move(self, output: Output, path: Path) -> WrittenFile:
        if self.force:
            output.path.replace(path)
        else:
            _move_to_free(output.path, path)
        return WrittenFile(
            name=output.port.name,
            kind=output.port.kind,
            path=path,
            size_bytes=output.size_bytes,
            sha256=output.sha256,
            info=output.info,
        )

    def _place_of(self, output: Output) -> Path:
        assert self.output is not None  # check() saw to it
        if self._is_several:
            return self.output / f"{output.port.name}.{output.extension}"
        wanted = self.output.suffix.lower().lstrip(".")
        if wanted != output.extension:
            raise _invalid_output(f"{self.spec.name} made a .{output.extension} file; name the output like that")
        return self.output

    @property
    def _is_several(self) -> bool:
        return len(self.spec.outputs) > 1

    @property
    def _home(self) -> Path | None:
        """The target's folder, or the nearest one above it that is there."""
        if self.output is None:
            return None
        return next(folder for folder in self.output.absolute().parents if folder.is_dir())


def _parse(spec: ProcessorSpec, raw: Mapping[str, object], output: Path | None) -> Any:
    """Return the parameters; where nobody chose a format and there is a choice, the output's name chooses."""
    suffix = output.suffix.lower().lstrip(".") if output is not None else ""
    has_format = any(field.name == FORMAT for field in attrs.fields(spec.params))
    if suffix and has_format and FORMAT not in raw and len(spec.outputs) == 1:
        raw = {**raw, FORMAT: suffix}
    return params.parse(spec.params, raw)


def _move_to_free(source: Path, path: Path) -> None:
    """Give `source` the name `path` unless somebody has taken it meanwhile."""
    try:
        os.link(source, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:
        # No hard links here (FAT, some network mounts): the look before must do.
        source.replace(path)


def _taken(path: Path) -> ConflictError:
    return ConflictError(f"{path} is there already.", hint="--force replaces it.", path=str(path))


def _invalid_output(detail: str) -> InvalidError:
    return InvalidError(violations=(Violation("/output", "invalid", detail),))
