"""Several processors in one run."""

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from attrs.validators import ge, le

from musproj.application import params
from musproj.application.chain_steps import MOST
from musproj.application.models import ModelFolder
from musproj.application.oneoff import OneOff
from musproj.errors import AudioSilentError, InvalidParamsError, JobCancelledError, OutputInvalidError
from musproj.ports.processor import AudioInfo, Outcome, Port, ProcessorSpec, processor_need
from musproj.processors.limits import DEFAULT_LIMITS
from musproj.registry import ProcessorCatalog
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode
from musproj.testing.trouble import Trouble
from musproj.worker.child import InProcessProbe


@attrs.frozen(kw_only=True)
class GainParams:
    factor: float = attrs.field(default=0.5, validator=[ge(0), le(4)], metadata={"min": 0.0, "max": 4.0})


@attrs.frozen(kw_only=True)
class NoParams:
    pass


def scale(inputs, chosen, ctx):
    (given,) = inputs.values()
    ctx.progress(0.0, "scale")
    ctx.warn("scaled", "It is scaled.")
    path = tones.write(ctx.workdir / "scaled.wav", decode(given.path) * np.float32(chosen.factor), 8_000)
    ctx.progress(1.0, "scale")
    return Outcome(
        files={"scaled": path}, data={"factor": chosen.factor, "among": len(list(ctx.workdir.parent.iterdir()))}
    )


def split(inputs, _chosen, ctx):
    samples = decode(inputs["mix"].path)
    files = {name: tones.write(ctx.workdir / f"{name}.wav", samples, 8_000) for name in ("one", "two")}
    return Outcome(files=files, data={"split": True})


def silent(_inputs, _chosen, _ctx):
    raise AudioSilentError("Nothing is heard.")


def escape(inputs, _chosen, ctx):
    path = ctx.workdir / "link.wav"
    path.symlink_to(inputs["input"].path)
    return Outcome(files={"scaled": path})


def spec(name, run, *, outputs=("scaled",), params=NoParams, **more):
    ports = tuple(Port(output, output) for output in outputs)
    return Trouble(ProcessorSpec(name=name, version="1", params=params, outputs=ports, **more), run)


CASES = (
    spec("scale", scale, params=GainParams, memory_mb=100, speed=10.0, moves_head=True, requires=("numpy",)),
    spec("split", split, outputs=("one", "two"), inputs=(Port("mix", "mix"),), speed=30.0, max_attempts=2),
    spec("silent", silent),
    spec("escape", escape),
    spec("hungry", scale, params=GainParams, memory_mb=lambda info: 1_000 * info.channels, timeout_seconds=9.0),
    spec("shop", scale, params=GainParams, paid=True),
    spec("pair", scale, inputs=(Port("left", "x"), Port("right", "x"))),
    spec("facts", scale, outputs=(), publishes="result"),
)


@pytest.fixture
def chain():
    return ProcessorCatalog(extra=CASES).get("chain")


@pytest.fixture
def run(chain, tmp_path):
    """Give a function that runs steps on a tone, and returns outcome and context."""
    tone = tones.write(tmp_path / "in.wav", tones.spread(tones.sine(440, -6, 0.5, 8_000), 1), 8_000)
    count = 0

    def run(*steps, **how):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        ctx = RecordingContext(workdir, **how)
        return chain.run({"input": as_input(tone)}, read(chain, *steps), ctx), ctx, decode(tone)

    return run


def step(kind, **given):
    return {"type": kind, "params": given}


def read(chain, *steps):
    return params.parse(chain.spec.params, {"steps": list(steps)})


def test_each_step_takes_what_the_one_before_made(run):
    outcome, ctx, source = run(step("scale", factor=0.5), step("scale", factor=0.25), step("split"))

    assert set(outcome.files) == {"one", "two"}
    assert np.allclose(decode(outcome.files["two"]), source / 8, atol=1e-6)
    assert outcome.data["split"] is True
    assert [one["type"] for one in outcome.data["steps"]] == ["scale", "scale", "split"]
    assert [warning["step"] for warning in ctx.warnings] == ["scale", "scale"]
    json.dumps(outcome.data, allow_nan=False)


def test_progress_goes_by_the_time_that_steps_take(run):
    _, ctx, _ = run(step("scale"), step("scale"))

    assert ctx.fractions == [0.0, 0.5, 0.5, 1.0]
    assert ctx.stages == ["scale"] * 4


def test_files_of_steps_that_are_over_do_not_stay(run):
    outcome, ctx, _ = run(*[step("scale")] * MOST)

    assert outcome.data["among"] == 2
    assert {path.name for path in ctx.workdir.iterdir()} == {f"{MOST}-scale"}


def test_a_failure_names_its_step(run):
    with pytest.raises(AudioSilentError, match="Step 2, silent: Nothing is heard") as caught:
        run(step("scale"), step("silent"))

    assert caught.value.facts["step"] == 2
    assert str(caught.value) == caught.value.message


def test_cancelling_passes_through(run):
    with pytest.raises(JobCancelledError):
        run(step("scale"), step("scale"), cancel_at=2)


def test_what_a_step_makes_is_looked_at_before_the_next_one_reads_it(run):
    with pytest.raises(OutputInvalidError, match="no regular file"):
        run(step("escape"), step("scale"))


def test_it_declares_what_its_steps_take_together(chain):
    given = chain.spec.given(read(chain, step("hungry"), step("scale"), step("split")))

    info = AudioInfo(container="wav", sample_rate=8_000, channels=2, frames=8_000, size_bytes=1)
    assert given.name == "chain"
    assert given.version == "hungry@1,scale@1,split@1"
    assert given.outputs == CASES[1].spec.outputs
    assert not given.moves_head
    assert given.inputs == CASES[4].spec.inputs
    assert given.memory_mb(info) == 2_000
    assert given.speed == pytest.approx(1 / (1 / 10 + 1 / 10 + 1 / 30))
    assert given.requires == ("numpy",)
    assert given.max_attempts == 2
    assert given.timeout_seconds is None
    assert [one.processor for one in given.steps] == ["hungry", "scale", "split"]
    assert given.steps[1].params == {"factor": 0.5}
    assert given.needs(read(chain, step("scale"), step("split"))) == (processor_need("scale"), processor_need("split"))
    assert chain.spec.given(read(chain, step("split"), step("scale"))).moves_head
    assert chain.spec.given(read(chain, step("hungry"), step("hungry"))).timeout_seconds == 18.0


def test_it_is_paid_where_its_first_step_is(chain):
    assert chain.spec.given(read(chain, step("shop"), step("scale"))).paid


def test_parameters_are_stored_with_every_default(chain):
    assert params.canonical(read(chain, {"type": "scale"}, step("split"))) == {
        "steps": [{"type": "scale", "params": {"factor": 0.5}}, {"type": "split", "params": {}}]
    }


@pytest.mark.parametrize(
    ("steps", "pointers"),
    [
        ([], ["/params/steps"]),
        ([step("scale")], ["/params/steps"]),
        ([step("scale")] * (MOST + 1), ["/params/steps"]),
        ("scale,split", ["/params/steps"]),
        ({"type": "scale"}, ["/params/steps"]),
        ([step("scale", factor=9), step("scal")], ["/params/steps/0/params/factor", "/params/steps/1/type"]),
        ([step("scale"), step("scale", facto=1)], ["/params/steps/1/params/facto"]),
        ([step("scale"), "split"], ["/params/steps/1"]),
        ([step("scale"), {"type": 5, "params": []}], ["/params/steps/1/type", "/params/steps/1/params"]),
        ([step("scale"), {"type": "split", "force": True}], ["/params/steps/1/force"]),
        ([step("facts"), step("scale")], ["/params/steps/0/type"]),
        ([step("scale"), step("pair")], ["/params/steps/1/type"]),
        ([step("scale"), step("shop")], ["/params/steps/1/type"]),
        ([step("scale"), {"type": "chain", "params": {"steps": [step("scale")] * 2}}], ["/params/steps/1/type"]),
        ([step("scale"), step("os.path:join")], ["/params/steps/1/type"]),
    ],
)
def test_every_wrong_step_is_told_where_it_stands(chain, steps, pointers):
    with pytest.raises(InvalidParamsError) as caught:
        params.parse(chain.spec.params, {"steps": steps})

    assert [found.pointer for found in caught.value.violations] == pointers


def test_a_chain_of_chains_is_refused_however_deep(chain):
    inner = step("scale")
    for _ in range(200):
        inner = {"type": "chain", "params": {"steps": [inner, inner]}}
    with pytest.raises(InvalidParamsError):
        params.parse(chain.spec.params, {"steps": [inner, inner]})


def test_the_schema_tells_what_a_step_is(chain):
    entry = params.schema(chain.spec.params)["properties"]["steps"]

    assert (entry["type"], entry["minItems"], entry["maxItems"]) == ("array", 2, MOST)
    assert entry["items"]["required"] == ["type"]


def test_text_is_read_as_json(chain):
    assert params.typed_pairs(chain.spec.params, ['steps=[{"type": "scale"}]']) == {"steps": [{"type": "scale"}]}
    assert params.typed_pairs(chain.spec.params, ["steps=scale"]) == {"steps": "scale"}


def test_a_run_on_local_files_goes_through_all_steps(tmp_path):
    machine = OneOff(
        catalog=ProcessorCatalog(extra=CASES), probe=InProcessProbe(DEFAULT_LIMITS), models=ModelFolder(None)
    )
    tone = tones.write(tmp_path / "in.wav", tones.spread(tones.sine(440, -6, 0.5, 8_000), 1), 8_000)

    result = machine.run("chain", tone, {"steps": [step("scale"), step("split")]}, output=tmp_path / "out")

    assert {Path(file.path).name for file in result.files} == {"one.wav", "two.wav"}
    assert list(result.params["steps"][0]) == ["type", "params"]
