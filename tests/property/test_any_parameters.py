"""Whatever parameters the schema allows and whatever signal comes: an end, or an error that has a code."""

import json

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musproj.application import params
from musproj.errors import AudioCorruptError, InvalidParamsError, NotAudioError, OutputInvalidError, ProcessingError
from musproj.registry import BUILT_IN, PROCESSORS, ProcessorCatalog
from musproj.testing.processors import RecordingContext, as_input, decode

CATALOG = ProcessorCatalog()
NAMES = sorted(name for name in set(BUILT_IN[PROCESSORS]) - {"chain"} if not CATALOG.get(name).spec.paid)
FILES = {"model", "modelSha256", "engine"}
BAD = (AudioCorruptError, NotAudioError, OutputInvalidError)
"""Of what is read again: it was made here."""
LIMITS = {"offsetSeconds": 2.0, "repeat": 2}
"""What would only take longer."""

SIGNALS = {
    "silence": lambda random, shape: np.zeros(shape),
    "noise": lambda random, shape: random.uniform(-1, 1, shape),
    "offset": lambda random, shape: np.full(shape, 0.5),
    "loud": lambda random, shape: random.normal(0, 5, shape),
    "impulse": lambda random, shape: np.eye(1, shape[0], shape[0] // 2).T * np.ones(shape[1]),
    "holes": lambda random, shape: np.where(random.random(shape) < 0.001, np.nan, random.normal(0, 0.1, shape)),
    "tiny": lambda random, shape: random.normal(0, 1e-30, shape),
    "tone": lambda random, shape: 0.5 * np.sin(0.05 * np.arange(shape[0]))[:, None] * np.ones(shape[1]),
}

signals = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(sorted(SIGNALS)),
        "rate": st.sampled_from([4_000, 11_025, 44_100, 48_000, 384_000]),
        "channels": st.sampled_from([1, 2, 3, 6, 8]),
        "frames": st.one_of(st.integers(1, 300), st.integers(300, 60_000)),
        "subtype": st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
    }
)


def value_of(name, entry):
    """Return a strategy for one parameter."""
    if "enum" in entry:
        return st.sampled_from(entry["enum"])
    if entry["type"] == "boolean":
        return st.booleans()
    low, high = entry["minimum"], min(entry["maximum"], LIMITS.get(name, entry["maximum"]))
    low = max(low, -LIMITS.get(name, abs(low)))
    kind = st.integers if entry["type"] == "integer" else st.floats
    return st.one_of(st.sampled_from([low, high]), kind(low, high))


def parameters(name):
    """Return a strategy for some of the parameters of a processor."""
    properties = params.schema(CATALOG.get(name).spec.params)["properties"]
    values = {key: value_of(key, entry) for key, entry in properties.items() if key not in FILES}
    return st.fixed_dictionaries({}, optional=values)


def write(path, signal):
    shape = signal["frames"], signal["channels"]
    samples = SIGNALS[signal["kind"]](np.random.default_rng(signal["frames"]), shape)
    soundfile.write(path, samples, signal["rate"], signal["subtype"])
    return as_input(path)


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value|cast).*:RuntimeWarning")  # of writing such files
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_ends_well_or_says_why(tmp_path_factory, name, data):
    processor = CATALOG.get(name)
    home = tmp_path_factory.mktemp("any")
    ctx = RecordingContext(home / "work")
    ctx.workdir.mkdir()
    given_params = data.draw(parameters(name))
    inputs = {port.name: write(home / f"{port.name}.wav", data.draw(signals)) for port in processor.spec.inputs}
    try:
        outcome = processor.run(inputs, params.parse(processor.spec.params, given_params), ctx)
    except BAD as exc:
        pytest.fail(f"{exc.code}: {exc.message}")
    except (ProcessingError, InvalidParamsError):
        return
    json.dumps(outcome.data, allow_nan=False)
    assert ctx.fractions == sorted(ctx.fractions)
    assert ctx.fractions[-1] == 1
    for port in processor.spec.outputs:
        if port.name in outcome.files and any(kind.startswith("audio/") for kind in port.media_types):
            samples = decode(outcome.files[port.name])
            assert len(samples) > 0
            assert np.isfinite(samples).all()
