"""`mix`: every sample is the sum that it should be."""

import numpy as np
import pytest

from musproj.errors import InvalidParamsError
from musproj.processors._runs.mix_params import MixParams
from musproj.processors.blocks import BLOCK_FRAMES
from musproj.processors.mix import mix
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 8_000
STEP = 2.0**-23  # of 24 bits


@pytest.fixture
def sum_of(tmp_path):
    """Give a function that mixes two signals, and returns samples, facts and context."""
    count = 0

    def sum_of(one, other, rate=RATE, other_rate=None, **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        ctx = RecordingContext(workdir)
        inputs = {
            "input": as_input(tones.write(tmp_path / f"one-{count}.wav", one, rate)),
            "other": as_input(tones.write(tmp_path / f"other-{count}.wav", other, other_rate or rate)),
        }
        outcome = mix.run(inputs, MixParams(**params), ctx)
        return decode(outcome.files["mix"]), outcome.data, ctx

    return sum_of


def noise(frames, channels, seed):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (frames, channels)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1, 200_001])
@pytest.mark.parametrize("other_frames", [1, BLOCK_FRAMES, 150_000])
def test_it_is_the_sum_as_long_as_the_longer_one(sum_of, frames, other_frames):
    one, other = noise(frames, 2, 1), noise(other_frames, 2, 2)
    expected = np.zeros((max(frames, other_frames), 2), np.float32)
    expected[:frames] += one
    expected[:other_frames] += other

    found, data, ctx = sum_of(one, other)

    assert np.abs(found - expected).max() <= STEP
    assert data["frames"] == len(expected)
    assert ctx.fractions == sorted(ctx.fractions)


@pytest.mark.parametrize("offset", [0.5, -0.5, 20.0, -20.0])
def test_the_other_one_begins_where_it_is_told_to(sum_of, offset):
    one, other = noise(9_000, 1, 1), noise(9_000, 1, 2)
    shift = round(offset * RATE)
    begin, other_begin = max(0, -shift), max(0, shift)
    expected = np.zeros((max(begin, other_begin) + 9_000, 1), np.float32)
    expected[begin : begin + 9_000] += one
    expected[other_begin : other_begin + 9_000] += other

    found, data, _ = sum_of(one, other, offset_seconds=offset)

    assert data["offsetFrames"] == shift
    assert np.abs(found - expected).max() <= STEP


def test_gains_are_decibels(sum_of):
    one, other = noise(9_000, 1, 1), noise(9_000, 1, 2)

    found, _, _ = sum_of(one, other, gain_db=-20.0, other_gain_db=6.0)

    assert np.abs(found - (one * 0.1 + other * 10**0.3)).max() <= 2 * STEP


def test_a_mono_one_goes_into_every_channel(sum_of):
    one, other = noise(9_000, 6, 1), noise(9_000, 1, 2)

    assert np.abs(sum_of(one, other)[0] - (one + other)).max() <= STEP


def test_other_channels_are_refused(sum_of):
    with pytest.raises(InvalidParamsError) as caught:
        sum_of(noise(100, 1, 1), noise(100, 2, 2))

    assert caught.value.violations[0].pointer == "/inputs/other"


def test_another_rate_is_brought_to_that_of_the_first(sum_of):
    seconds = 3.0
    one, other = tones.sine(440.0, -12.0, seconds, 48_000), tones.sine(440.0, -12.0, seconds, 44_100)

    found, data, _ = sum_of(tones.spread(one, 1), -tones.spread(other, 1), 48_000, 44_100)

    assert data["frames"] == len(found) == round(seconds * 48_000)
    assert np.abs(found[2_000:-2_000]).max() < 1e-4


def test_clipped_samples_are_counted(sum_of):
    loud = np.full((100, 1), 0.75, np.float32)

    assert sum_of(loud, loud)[1]["clippedSamples"] == 100


def test_the_facts_are_those_of_the_page(sum_of, told_keys):
    loud = np.full((100, 1), 0.75, np.float32)

    assert set(sum_of(loud, loud)[1]) <= told_keys("mix")
