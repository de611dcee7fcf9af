"""`compare`: what was done to one of the files is what it finds."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musproj.errors import InvalidParamsError
from musproj.processors._dsp.correlate import CrossCorrelation
from musproj.processors._runs.compare_params import CompareParams
from musproj.processors.compare import compare
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 44_100


@pytest.fixture
def compared(tmp_path):
    """Give a function that compares two signals, and returns the difference, facts and context."""
    count = 0

    def compared(one, other, rate=RATE, other_rate=None, **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        ctx = RecordingContext(workdir)
        one_path, other_path = tmp_path / f"one-{count}.wav", tmp_path / f"other-{count}.wav"
        soundfile.write(one_path, one, rate, "FLOAT")  # our own writer refuses what is not finite
        soundfile.write(other_path, other, other_rate or rate, "FLOAT")
        inputs = {"input": as_input(one_path), "other": as_input(other_path)}
        outcome = compare.run(inputs, CompareParams(**params), ctx)
        return decode(outcome.files["difference"]), outcome.data, ctx

    return compared


def test_a_file_and_itself_are_identical(compared):
    sound = tones.music(4.0)

    difference, data, ctx = compared(sound, sound)

    assert data["identical"]
    assert not difference.any()
    assert data["offsetSamples"] == 0
    assert data["correlation"] == pytest.approx(1.0)
    assert data["integratedLufs"] == data["otherIntegratedLufs"]
    assert "residualDb" not in data
    assert ctx.fractions[-1] == 1


@pytest.mark.parametrize("late", [1, 1_105, 40_000, -1, -1_105, -40_000])
def test_an_offset_is_found_and_undone(compared, late):
    sound = tones.music(5.0)
    later, earlier = np.concatenate([np.zeros((abs(late), 2), np.float32), sound]), sound
    one, other = (earlier, later) if late > 0 else (later, earlier)

    difference, data, _ = compared(one, other)

    assert data["offsetSamples"] == late
    assert not difference.any()
    assert len(difference) == len(one)
    assert not data["identical"]
    assert data["comparedDuration"] == pytest.approx(len(sound) / RATE)


def test_without_align_files_are_compared_as_they_lie(compared):
    sound = tones.music(3.0)

    difference, data, _ = compared(sound[100:], sound, align=False)

    assert data["offsetSamples"] == 0
    assert "correlation" not in data
    assert np.array_equal(difference, sound[100:] - sound[:-100])


def test_what_differs_is_the_difference(compared):
    sound = tones.music(3.0)
    hidden = np.zeros_like(sound)
    hidden[50_000:60_000, 1] = 1e-3

    difference, data, _ = compared(sound + hidden, sound)

    assert np.abs(difference - hidden).max() < 1e-7
    assert data["differencePeakDbfs"] == pytest.approx(-60.0, abs=0.01)
    expected = 10 * np.log10(np.square(hidden, dtype=float).sum() / np.square(sound + hidden, dtype=float).sum())
    assert data["residualDb"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("factor", "inverted"), [(0.5, False), (-0.5, True)])
def test_a_gain_is_found_and_undone(compared, factor, inverted):
    sound = tones.music(3.0)

    _, data, _ = compared(sound, sound * np.float32(factor), match_gain=True)

    assert data["gainDb"] == pytest.approx(6.0206, abs=1e-3)
    assert data.get("polarityInverted", False) is inverted
    assert data.get("residualDb", -np.inf) < -120  # a half is exact, and leaves nothing
    assert not data["identical"]


def test_files_of_other_rates_are_compared(compared):
    seconds = 3.0
    one, other = (tones.spread(tones.faded(tones.sine(1_000, -6, seconds, rate), rate), 2) for rate in (48_000, RATE))

    difference, data, _ = compared(one, other, 48_000, RATE)

    assert data["offsetSamples"] == 0
    assert data["residualDb"] < -90
    assert not data["identical"]
    assert len(difference) == len(one)


def test_files_with_nothing_in_common_stay_where_they_are(compared):
    one, other = (np.random.default_rng(seed).normal(0, 0.1, (3 * RATE, 1)).astype(np.float32) for seed in (1, 2))

    _, data, ctx = compared(one, other)

    assert data["offsetSamples"] == 0
    assert ctx.codes() == ["notAligned"]


@pytest.mark.parametrize("loud_first", [True, False])
def test_silence_can_be_compared(compared, loud_first):
    pair = [tones.music(1.0), np.zeros((RATE, 2), np.float32)]

    _, data, _ = compared(*(pair if loud_first else pair[::-1]), match_gain=True)

    assert data["offsetSamples"] == 0
    assert not data["identical"]


def test_other_channels_are_refused(compared):
    with pytest.raises(InvalidParamsError):
        compared(tones.music(0.1, channels=1), tones.music(0.1, channels=2))


def test_warnings_name_the_file_and_come_once(compared):
    sound = tones.music(1.0)
    odd = sound.copy()
    odd[5] = np.nan

    _, data, ctx = compared(sound, odd, match_gain=True)

    assert [(warning["code"], warning["port"]) for warning in ctx.warnings] == [("nonFinite", "other")]
    assert data["differencePeakDbfs"] <= 0


def test_the_facts_are_those_of_the_page(compared, told_keys):
    sound = tones.music(4.0)

    assert set(compared(sound, -sound, match_gain=True)[1]) <= told_keys("compare")


@settings(deadline=None, max_examples=60)
@given(
    lag=st.integers(-300, 300),
    frames=st.integers(1_000, 30_000),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=5),
    sign=st.sampled_from([1, -1]),
)
def test_stretches_correlate_as_the_whole_would(lag, frames, sizes, sign):
    random = np.random.default_rng(frames)
    whole = random.normal(0, 1, (2, frames + 600)).astype(np.float32)
    first, second = whole[:, 300 : 300 + frames], sign * whole[:, 300 - lag : 300 - lag + frames]
    correlation = CrossCorrelation(2, 300)
    at = 0
    while at < frames:
        size = sizes[at % len(sizes)]
        correlation.feed(first[:, at : at + size], second[:, at : at + size])
        at += size
    found = correlation.result()

    begin, end = max(0, -lag), min(frames, frames - lag)
    product = np.einsum("cf,cf->", first[:, begin:end], second[:, begin + lag : end + lag], dtype=float)
    scale = np.sqrt(np.square(first, dtype=float).sum() * np.square(second, dtype=float).sum())
    assert found.lag == lag
    assert found.correlation == pytest.approx(product / scale, abs=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_an_excerpt_is_found_in_what_goes_on_for_long(compared, turned):
    whole = np.random.default_rng(1).normal(0, 0.1, (60 * 8_000, 1)).astype(np.float32)
    pair = whole[100:8_100], whole

    difference, data, ctx = compared(*(pair[::-1] if turned else pair), 8_000)

    assert data["offsetSamples"] == (-100 if turned else 100)
    assert abs(data["correlation"]) > 0.5
    assert not difference.any() or turned
    assert ctx.codes() == []


def test_two_silent_files_have_silence_in_common(compared):
    silence = np.zeros((RATE, 1), np.float32)

    _, data, ctx = compared(silence, silence)

    assert data["identical"]
    assert "correlation" not in data
    assert "notAligned" not in ctx.codes()
