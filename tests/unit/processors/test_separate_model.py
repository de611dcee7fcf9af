"""`separate` with a model: what the model finds are the vocals, and what is no model of audio is refused."""

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from musproj.errors import JobCancelledError, ModelInvalidError
from musproj.ports.processor import AudioInfo
from musproj.processors._runs.separate_params import SeparateParams
from musproj.processors.separate import separate
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode, digest

RATE = 22_050


def save(path, nodes, taken, given, *, constants=None, kind=TensorProto.FLOAT, **facts):
    """Write a model with one input `x` and one output `y`."""
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, taken)],
        [helper.make_tensor_value_info("y", kind, given)],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, path)
    return path


@pytest.fixture
def half(tmp_path):
    """Give a function that writes a model which finds half of the mix to be vocals."""

    def half(samples="n", channels=2, **facts):
        shape = [1, channels, samples]
        nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
        return save(tmp_path / "half.onnx", nodes, shape, shape, constants={"factor": np.float32(0.5)}, **facts)

    return half


@pytest.fixture
def stems(tmp_path):
    """Give a function that writes a model of several stems, the last of which is a quarter of the mix."""

    def stems(count=4, **facts):
        factors = np.zeros((1, count, 1, 1), np.float32)
        factors[0, -1] = 0.25
        nodes = [helper.make_node("Unsqueeze", ["x", "axis"], ["wide"]), helper.make_node("Mul", ["wide", "f"], ["y"])]
        constants = {"axis": np.array([1], np.int64), "f": factors}
        return save(tmp_path / "stems.onnx", nodes, [1, 2, "n"], [1, count, 2, "n"], constants=constants, **facts)

    return stems


@pytest.fixture
def run(tmp_path):
    """Give a function that separates a mix with a model."""
    count = 0

    def run(model, mix, rate=RATE, *, cancel_at=None, **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = tones.write(tmp_path / f"in-{count}.wav", mix, rate, "PCM_24")
        ctx = RecordingContext(workdir, cancel_at, models={"a.onnx": model})
        outcome = separate.run({"input": as_input(path)}, SeparateParams(model="a.onnx", **params), ctx)
        return decode(outcome.files["vocals"]), decode(outcome.files["instrumental"]), outcome.data, ctx, decode(path)

    return run


@pytest.mark.parametrize("samples", ["n", 40_000])
@pytest.mark.parametrize("seconds", [0.1, 9.0, 26.0])
def test_vocals_are_what_the_model_finds(run, half, samples, seconds):
    mix = 0.6 * tones.music(seconds, RATE)

    vocals, instrumental, data, ctx, read = run(half(samples, sample_rate=RATE), mix, segment_seconds=10.0)

    assert vocals.shape == instrumental.shape == read.shape
    assert np.abs(vocals - read / 2).max() < 1e-6
    assert np.array_equal(vocals.astype(float) + instrumental, read)
    assert data["vocalsEnergyRatio"] == pytest.approx(0.25, abs=1e-3)
    assert (data["mode"], data["model"], data["quality"]) == ("model", "a.onnx", "model")
    assert ctx.fractions == sorted(ctx.fractions)
    assert ctx.fractions[-1] == 1


@pytest.mark.parametrize("facts", [{}, {"stems": "drums, bass, other, vocals"}])
def test_of_several_stems_the_vocals_are_taken(run, stems, facts):
    vocals, _, _, _, read = run(stems(sample_rate=RATE, **facts), 0.5 * tones.music(3.0, RATE))

    assert np.abs(vocals - read / 4).max() < 1e-6


@pytest.mark.parametrize(
    ("rate", "channels", "taken"), [(48_000, 2, 2), (16_000, 1, 2), (44_100, 2, 1), (96_000, 6, 2)]
)
def test_audio_is_brought_to_what_the_model_takes_and_back(run, half, rate, channels, taken):
    tone = tones.spread(tones.faded(tones.sine(440, -9, 2.0, rate), rate), channels)

    vocals, instrumental, _, _, read = run(half(channels=taken), tone, rate)

    assert np.abs(vocals[:, :2] - read[:, :2] / 2).max() < 1e-3
    assert not vocals[:, 2:].any()
    assert np.array_equal(vocals.astype(float) + instrumental, read)


def test_a_cancellation_ends_a_model_in_the_middle(run, tmp_path):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2, "n"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 2, "n"]),
        ],
    )
    nodes = [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)]
    constants = {"turns": np.array(1_000_000, np.int64), "yes": np.array(True)}
    endless = save(tmp_path / "slow.onnx", nodes, [1, 2, "n"], [1, 2, "n"], constants=constants, sample_rate=RATE)
    begun = time.monotonic()

    with pytest.raises(JobCancelledError):
        run(endless, 0.5 * tones.music(12.0, RATE), cancel_at=12 * RATE // 65_536 * 2 + 5)

    assert time.monotonic() - begun < 5


def test_another_hash_is_refused(run, half):
    model = half(sample_rate=RATE)
    mix = 0.5 * tones.music(0.5, RATE)

    run(model, mix, model_sha256=digest(model))
    with pytest.raises(ModelInvalidError, match="sha256"):
        run(model, mix, model_sha256="0" * 64)


def broken(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model at all")
    return path


def identity(tmp_path, taken, given, **how):
    return save(tmp_path / "identity.onnx", [helper.make_node("Identity", ["x"], ["y"])], taken, given, **how)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (broken, "cannot be loaded"),
        (lambda path: identity(path, [1, 3, 224, 224], [1, 3, 224, 224]), "not audio"),
        (lambda path: identity(path, [1, 6, "n"], [1, 6, "n"]), "one or two channels"),
        (lambda path: identity(path, [8, 2, "n"], [8, 2, "n"]), "one file"),
        (lambda path: identity(path, [1, 2, "n"], [1, 2, "n"], kind=TensorProto.DOUBLE), "not audio"),
        (lambda path: identity(path, [1, 2, "n"], [1, 2, "n"], sample_rate="fast"), "sample_rate"),
    ],
    ids=["bytes", "picture", "channels", "batch", "doubles", "rate"],
)
def test_what_is_no_model_of_audio_is_refused(run, tmp_path, make, reason):
    with pytest.raises(ModelInvalidError, match=reason):
        run(make(tmp_path), 0.5 * tones.music(0.5, RATE))


def test_stems_without_names_are_refused(run, stems):
    with pytest.raises(ModelInvalidError, match="stems"):
        run(stems(3), 0.5 * tones.music(0.5, RATE))


def test_numbers_that_are_none_are_refused(run, tmp_path):
    nodes = [helper.make_node("Div", ["x", "zero"], ["y"])]
    model = save(tmp_path / "nan.onnx", nodes, [1, 2, "n"], [1, 2, "n"], constants={"zero": np.float32(0)})

    with pytest.raises(ModelInvalidError, match="not finite"):
        run(model, 0.5 * tones.music(0.5, RATE))


def test_an_output_of_another_length_is_refused(run, tmp_path):
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=2)]
    model = save(tmp_path / "twice.onnx", nodes, [1, 2, "n"], [1, 2, "m"], sample_rate=RATE)

    with pytest.raises(ModelInvalidError, match="it gave an array"):
        run(model, 0.5 * tones.music(0.5, RATE))


def test_a_job_with_a_model_goes_to_workers_that_run_models():
    info = AudioInfo(container="wav", sample_rate=44_100, channels=2, frames=44_100, size_bytes=1)
    params = SeparateParams(model="a.onnx")
    given = separate.spec.given(params)

    assert separate.spec.needs(params) == ("onnx",)
    assert given.memory_mb > separate.spec.memory_mb(info)
    assert "onnxruntime" in given.requires
    assert separate.spec.given(SeparateParams()) is separate.spec
    assert separate.spec.needs(SeparateParams()) == ()


def test_the_facts_are_those_of_the_page(run, half, told_keys):
    assert set(run(half(), 0.5 * tones.music(1.0, RATE))[2]) <= told_keys("separate")


def test_a_model_that_breaks_is_at_fault_itself(run, tmp_path):
    nodes = [helper.make_node("Gather", ["x", "place"], ["y"], axis=0)]
    model = save(tmp_path / "out.onnx", nodes, [1, 2, "n"], [1, 2, "n"], constants={"place": np.array([5], np.int64)})

    with pytest.raises(ModelInvalidError, match="it fails"):
        run(model, 0.5 * tones.music(0.5, RATE))


@pytest.mark.parametrize(("frames", "rate"), [(1, 96_000), (4, 384_000)])
def test_a_few_frames_are_separated(run, half, frames, rate):
    vocals, instrumental, _, _, read = run(half(), np.full((frames, 2), 0.1, np.float32), rate)

    assert len(vocals) == len(instrumental) == len(read) == frames
