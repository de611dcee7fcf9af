"""`chain`: several processors in a row in one job; only what the last one makes is published."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs

from musproj.application import params as parameters
from musproj.application.digests import blocks_of, sha256_of
from musproj.errors import (
    InvalidParamsError,
    JobCancelledError,
    MusProjError,
    OutputInvalidError,
    UnknownJobTypeError,
    Violation,
)
from musproj.ports.processor import (
    AudioInfo,
    Composite,
    Context,
    InputFile,
    ModelFile,
    Outcome,
    Processor,
    ProcessorSpec,
    Step,
    processor_need,
)

Find = Callable[[str], Processor]

FEWEST, MOST = 2, 8
NAME = "chain"
_DEFAULT_MB = 256
"""What a step takes that declares nothing, beside others that do."""


@attrs.frozen
class ChainStep:
    """One step, its parameters read."""

    processor: Processor
    params: Any

    @property
    def spec(self) -> ProcessorSpec:
        """What is declared of a run with these parameters."""
        return self.processor.spec.given(self.params)

    @property
    def told(self) -> Step:
        """The step as the provenance tells it."""
        spec = self.spec
        return Step(processor=spec.name, processor_version=spec.version, params=parameters.canonical(self.params))


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
            params=_params_class(find),
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
        steps: Sequence[ChainStep] = params.steps
        spans = _spans([step.spec.speed for step in steps])
        told: list[dict[str, object]] = []
        given = inputs
        outcome = Outcome()
        for number, (step, span) in enumerate(zip(steps, spans, strict=True), start=1):
            workdir = ctx.workdir / f"{number}-{step.spec.name}"
            workdir.mkdir()
            outcome = _run_step(step, given, _StepContext(ctx, workdir, span, step.spec.name), number)
            told.append({"type": step.spec.name, "result": dict(outcome.data)})
            if number < len(steps):
                path = _primary(step.spec, outcome, workdir)
                taken = steps[number].spec.inputs[0].name
                given = {taken: InputFile(path=path, sha256=sha256_of(blocks_of(path)))}
            if number > 1:  # the disk holds two steps at most
                shutil.rmtree(ctx.workdir / f"{number - 1}-{steps[number - 2].spec.name}")
        return Outcome(files=outcome.files, data={**outcome.data, "steps": told})


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
    port = spec.outputs[0].name
    path = outcome.files.get(port)
    if path is None:
        raise OutputInvalidError(f"{spec.name} did not make: {port}.")
    if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(workdir.resolve()):
        raise OutputInvalidError(f"The output {port} is no regular file in the work folder.")
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


# ── what it declares ─────────────────────────────────────────────────────────────────────────────


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
        steps=tuple(step.told for step in steps),
        timeout_seconds=sum(known) if len(known) == len(specs) else None,
        max_attempts=min(spec.max_attempts for spec in specs),
    )


def _needs_of(chosen: Any) -> tuple[str, ...]:
    steps: Sequence[ChainStep] = chosen.steps
    needs = {need for step in steps for need in (processor_need(step.spec.name), *step.spec.needs(step.params))}
    return tuple(sorted(needs))


def _memory_mb(specs: Sequence[ProcessorSpec], info: AudioInfo) -> int:
    declared = (spec.memory_mb(info) if callable(spec.memory_mb) else spec.memory_mb for spec in specs)
    return max(mb if mb is not None else _DEFAULT_MB for mb in declared)


# ── its parameters ───────────────────────────────────────────────────────────────────────────────


def _params_class(find: Find) -> type:
    """Return the class of the parameters where `find` finds the processors."""
    form = parameters.Form(partial(_read_steps, find), _write_steps, _SCHEMA)

    @attrs.frozen(kw_only=True)
    class ChainParams:
        """What to run, in order."""

        steps: tuple[ChainStep, ...] = attrs.field(
            metadata={"form": form, "description": "What to run, in order: `{type, params}` each."}
        )

    return ChainParams


_SCHEMA: Mapping[str, object] = {
    "type": "array",
    "minItems": FEWEST,
    "maxItems": MOST,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["type"],
        "properties": {"type": {"type": "string"}, "params": {"type": "object"}},
    },
}


def _read_steps(find: Find, value: object) -> tuple[ChainStep, ...]:
    """Return the steps that JSON tells.

    Raises:
        InvalidParamsError: with everything that is wrong about them.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not FEWEST <= len(cast("Any", value)) <= MOST:
        raise InvalidParamsError(violations=(_violation("", f"must be a list of {FEWEST} to {MOST} steps"),))
    violations: list[Violation] = []
    steps: list[ChainStep] = []
    for place, item in enumerate(cast("Sequence[object]", value)):
        try:
            steps.append(_read_step(find, item, place))
        except InvalidParamsError as exc:
            violations += exc.violations
    if violations:
        raise InvalidParamsError(violations=tuple(violations))
    return tuple(steps)


def _read_step(find: Find, item: object, place: int) -> ChainStep:
    if not isinstance(item, Mapping):
        raise InvalidParamsError(violations=(_violation(f"/{place}", "must be an object of type and params"),))
    fields = cast("Mapping[str, object]", item)
    unknown = [
        _violation(f"/{place}/{parameters.escaped(key)}", "unknown; a step has type and params")
        for key in fields
        if key not in _KEYS
    ]
    kind, given = fields.get("type"), fields.get("params", {})
    if unknown or not isinstance(kind, str) or not isinstance(given, Mapping):
        wrong = [] if isinstance(kind, str) else [_violation(f"/{place}/type", "must be the name of a processor")]
        wrong += [] if isinstance(given, Mapping) else [_violation(f"/{place}/params", "must be an object")]
        raise InvalidParamsError(violations=(*unknown, *wrong))
    if kind == NAME:  # before its parameters are read: they might nest without end
        raise InvalidParamsError(violations=(_violation(f"/{place}/type", "a chain is no step of a chain"),))
    try:
        processor = find(kind)
    except UnknownJobTypeError as exc:
        raise InvalidParamsError(violations=(_violation(f"/{place}/type", exc.message),), hint=exc.hint) from exc
    try:
        step = ChainStep(processor, parameters.parse(processor.spec.params, cast("Mapping[str, object]", given)))
    except InvalidParamsError as exc:
        inner = [_violation(f"/{place}{found.pointer}", found.detail, found.code) for found in exc.violations]
        raise InvalidParamsError(violations=tuple(inner)) from exc
    reason = _unfit(step.spec, place)
    if reason:
        raise InvalidParamsError(violations=(_violation(f"/{place}/type", reason),))
    return step


_KEYS = frozenset(("type", "params"))


def _unfit(spec: ProcessorSpec, place: int) -> str | None:
    """Return why a processor cannot be a step, or None."""
    required = [port for port in spec.inputs if port.required]
    if spec.publishes != "version":
        return f"{spec.name} makes no version that a next step could take"
    if len(required) != 1 or spec.inputs[0] not in required:
        return f"{spec.name} takes more than one input"
    if spec.paid and place:
        return f"{spec.name} is an outside service, and can be the first step only"
    return None


def _write_steps(steps: tuple[ChainStep, ...]) -> list[dict[str, object]]:
    return [{"type": step.spec.name, "params": parameters.canonical(step.params)} for step in steps]


def _violation(pointer: str, detail: str, code: str = "invalid") -> Violation:
    return Violation(f"/params/steps{pointer}", code, detail)


chain = Chain()
