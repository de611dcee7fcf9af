"""`normalize`: on target, below the ceiling, and otherwise the input times a number."""

import numpy as np
import pytest

from musproj.errors import AudioSilentError
from musproj.processors._runs.normalize_params import NormalizeParams
from musproj.processors.normalize import normalize
from musproj.testing import tones
from musproj.testing.processors import as_input, decode

RATE = 44_100


def run(samples, ctx, tmp_path, rate=RATE, **params):
    path = tones.write(tmp_path / "in.wav", samples, rate)
    outcome = normalize.run({"input": as_input(path)}, NormalizeParams(**params), ctx)
    return outcome.data, decode(outcome.files["normalized"])


@pytest.mark.parametrize("target", [-23.0, -16.0, -12.0])
def test_target_and_ceiling_hold_by_an_independent_meter(ctx, tmp_path, libebur128, target):
    data, output = run(tones.music(12.0), ctx, tmp_path, target_lufs=target)
    integrated, _, peak = libebur128(output, RATE)

    assert integrated == pytest.approx(target, abs=0.06)
    assert peak <= -1.0
    assert data["outputLufs"] == pytest.approx(integrated, abs=0.01)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_with_room_above_it_is_the_input_times_a_number(ctx, tmp_path, channels):
    source = tones.spread(tones.music(6.0)[:, 0], channels)
    data, output = run(source, ctx, tmp_path, target_lufs=-30.0)

    assert data["passes"] == 1
    assert data["limitedFraction"] == 0.0
    np.testing.assert_allclose(output, source * 10 ** (data["gainDb"] / 20), atol=2e-7)


def test_silence_has_no_loudness_to_change(ctx, tmp_path):
    with pytest.raises(AudioSilentError):
        run(np.zeros((RATE, 2), np.float32), ctx, tmp_path)


def test_the_result_holds_the_keys_of_its_page(ctx, tmp_path, told_keys):
    data, _ = run(tones.music(4.0), ctx, tmp_path)

    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("normalize") - sometimes == set(data)
