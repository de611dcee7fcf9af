"""`chain`: several processors in a row in one job; only what the last one makes is published."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from musproj.application.chain_steps import NAME, ChainStep, Find, params_class
from musproj.application.digests import blocks_of, sha256_of
from musproj.application.execution_outputs import checked_size
from musproj.errors import JobCancelledError, MusProjError, OutputInvalidError, UnknownJobTypeError
from musproj.ports.processor import (
    DEFAULT_MB,
    AudioInfo,
    Composite,
    Context,
    InputFile,
    ModelFile,
    Outcome,
    Processor,
    ProcessorSpec,
    processor_need,
)


def _unbound(_name: str) -> Processor:
    raise UnknownJobTypeError("A chain knows the processors of an installation only.")


class Chain(Composite, Processor):
    """Runs steps in one process; each one's primary file is the next one's input, and never leaves the work folder."""

    __slots__ = ("_spec",)

    def __init__(self, find: Find = _unbound) -> None:
        """Make chains of what `find` finds."""
        self._spec = ProcessorSpec(
            name=NAME,
            version="1",
            summary="Several processors in a row, of which only the last one publishes",
            params=params_class(find),
            outputs=(),
            publishes="version",
            for_params=_spec_of,
            needs=_needs_of,
        )

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration; that of given steps is told by `given`."""
        return self._spec

    def over(self, find: Find) -> Processor:
        """Return the chain of the processors that `find` finds."""
        return Chain(find)

    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:
        """Run the steps.

        Raises:
            MusProjError: a step failed; the text and the facts name it.
        """
        return _run_steps(params.steps, inputs, ctx)


def _run_steps(steps: Sequence[ChainStep], given: Mapping[str, InputFile], ctx: Context, first: int = 1) -> Outcome:
    """Run `steps`, the first of which is the chain's step of number `first`."""
    spans = _spans([step.spec.speed for step in steps])
    told: list[dict[str, object]] = []
    outcome = Outcome()
    for place, (step, span) in enumerate(zip(steps, spans, strict=True)):
        number = first + place
        workdir = ctx.workdir / f"{number}-{step.spec.name}"
        workdir.mkdir()
        outcome = _run_step(step, given, _StepContext(ctx, workdir, span, step.spec.name), number)
        told.append({"type": step.spec.name, "result": dict(outcome.data)})
        if place + 1 < len(steps):
            given = _as_input(steps[place + 1], _primary(step.spec, outcome, workdir))
        if place:  # the disk holds two steps at most
            shutil.rmtree(ctx.workdir / f"{number - 1}-{steps[place - 1].spec.name}")
    return Outcome(files=outcome.files, data={**outcome.data, "steps": told})


def _go_on(steps: Sequence[ChainStep], files: Mapping[str, Path], ctx: Context) -> Outcome:
    """Run the steps behind the first, whose files an outside service made."""
    primary = files[steps[0].spec.outputs[0].name]
    return _run_steps(steps[1:], _as_input(steps[1], primary), ctx, first=2)


def _as_input(step: ChainStep, path: Path) -> Mapping[str, InputFile]:
    return {step.spec.inputs[0].name: InputFile(path=path, sha256=sha256_of(blocks_of(path)))}


def _run_step(step: ChainStep, inputs: Mapping[str, InputFile], ctx: Context, number: int) -> Outcome:
    try:
        return step.processor.run(inputs, step.params, ctx)
    except JobCancelledError:
        raise
    except MusProjError as exc:
        exc.message = f"Step {number}, {step.spec.name}: {exc.message}"
        exc.args = (exc.message,)
        exc.facts["step"] = number
        raise


def _primary(spec: ProcessorSpec, outcome: Outcome, workdir: Path) -> Path:
    """Return the file that the next step reads.

    Raises:
        OutputInvalidError: it is not there, or is no file of the step.
    """
    port = spec.outputs[0]
    if port.name not in outcome.files:
        raise OutputInvalidError(f"{spec.name} did not make: {port.name}.")
    path = outcome.files[port.name]
    checked_size(port, path, workdir)
    return path


def _spans(speeds: Sequence[float]) -> list[tuple[float, float]]:
    """Return the share of the progress that each step has, by the time that it is expected to take."""
    times = [1 / speed for speed in speeds]
    ends = [sum(times[: place + 1]) / sum(times) for place in range(len(times))]
    return list(zip([0.0, *ends[:-1]], [*ends[:-1], 1.0], strict=True))


@attrs.frozen
class _StepContext(Context):
    whole: Context
    folder: Path
    span: tuple[float, float]
    name: str

    @property
    def workdir(self) -> Path:
        return self.folder

    def progress(self, fraction: float, stage: str | None = None) -> None:
        begin, end = self.span
        name = self.name if stage in (None, self.name) else f"{self.name}: {stage}"
        self.whole.progress(begin + min(max(fraction, 0.0), 1.0) * (end - begin), name)

    def check(self) -> None:
        self.whole.check()

    def model(self, name: str) -> ModelFile:
        return self.whole.model(name)

    def warn(self, code: str, message: str, **facts: object) -> None:
        self.whole.warn(code, message, **{"step": self.name, **facts})


def _spec_of(chosen: Any) -> ProcessorSpec:
    """Return the declaration of these steps together."""
    steps: Sequence[ChainStep] = chosen.steps
    specs = [step.spec for step in steps]
    limits = [spec.timeout_seconds for spec in specs]
    known = [limit for limit in limits if limit is not None]
    last = specs[-1]
    kind: type[Any] = type(chosen)  # pyright: ignore[reportUnknownVariableType] -- of anything
    return ProcessorSpec(
        name=NAME,
        # Whatever changes in a step changes what comes out.
        version=",".join(f"{spec.name}@{spec.version}" for spec in specs),
        params=kind,
        inputs=specs[0].inputs,
        outputs=last.outputs,
        publishes=last.publishes,
        moves_head=last.moves_head,
        paid=specs[0].paid,
        memory_mb=partial(_memory_mb, specs),
        speed=1 / sum(1 / spec.speed for spec in specs),
        requires=tuple(dict.fromkeys(module for spec in specs for module in spec.requires)),
        needs=_needs_of,
        steps=tuple(step.provenance for step in steps),
        task=specs[0].task and attrs.evolve(specs[0].task, then=partial(_go_on, steps)),
        timeout_seconds=sum(known) if len(known) == len(specs) else None,
        max_attempts=min(spec.max_attempts for spec in specs),
    )


def _needs_of(chosen: Any) -> tuple[str, ...]:
    steps: Sequence[ChainStep] = chosen.steps
    needs = {need for step in steps for need in (processor_need(step.spec.name), *step.spec.needs(step.params))}
    return tuple(sorted(needs))


def _memory_mb(specs: Sequence[ProcessorSpec], info: AudioInfo) -> int:
    declared = (spec.declared_mb(info) for spec in specs)
    return max(mb if mb is not None else DEFAULT_MB for mb in declared)


chain = Chain()
