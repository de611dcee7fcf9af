"""The parameters of a chain: its steps, read from JSON and written as JSON."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import attrs

from musproj.application import params as parameters
from musproj.domain.version import ProvenanceStep
from musproj.errors import InvalidParamsError, UnknownJobTypeError, Violation
from musproj.ports.processor import Processor, ProcessorSpec

Find = Callable[[str], Processor]

FEWEST, MOST = 2, 8
NAME = "chain"

_KEYS = frozenset(("type", "params"))


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
    def provenance(self) -> ProvenanceStep:
        """The step as the provenance tells it."""
        spec = self.spec
        return ProvenanceStep(
            processor=spec.name, processor_version=spec.version, params=parameters.canonical(self.params)
        )


def params_class(find: Find) -> type:
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
