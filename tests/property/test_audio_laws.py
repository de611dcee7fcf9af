"""Laws of the meters and of the limiter, for any signal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.processors._dsp_biquads import SectionFilter, highpass, k_weighting
from musproj.processors._dsp_limiter import HannMean, Limiter, Release, SlidingMinimum
from musproj.processors._dsp_loudness import LoudnessMeter
from musproj.processors._dsp_truepeak import PeakMeter

RATE = 16_000

seeds = st.integers(0, 2**32 - 1)
gains = st.floats(-20.0, 10.0)


def signal(seed, seconds=4.0, channels=2):
    """Return noise with a wandering level, (channels, frames) float32, around -23 LUFS."""
    random = np.random.default_rng(seed)
    frames = round(seconds * RATE)
    level = 0.05 * (1.5 + np.sin(np.arange(frames) * random.uniform(0.5, 3) / RATE))
    return (random.standard_normal((channels, frames)) * level).astype(np.float32)


def loudness(samples, block=10_007):
    meter = LoudnessMeter(RATE, (1.0,) * len(samples))
    for at in range(0, samples.shape[1], block):
        meter.feed(samples[:, at : at + block])
    return meter.result()


def peaks(samples, block=10_007):
    meter = PeakMeter(RATE, len(samples))
    for at in range(0, samples.shape[1], block):
        meter.feed(np.ascontiguousarray(samples[:, at : at + block]))
    meter.finish()
    return meter


@given(seeds, gains)
def test_gain_moves_every_loudness_by_itself(seed, gain):
    samples = signal(seed)
    before, after = loudness(samples), loudness(samples * np.float32(10 ** (gain / 20)))
    exact = 20 * np.log10(float(np.float32(10 ** (gain / 20))))
    assert after.integrated - before.integrated == pytest.approx(exact, abs=1e-6)
    assert after.max_momentary - before.max_momentary == pytest.approx(exact, abs=2e-5)
    assert after.max_short_term - before.max_short_term == pytest.approx(exact, abs=2e-5)
    assert after.range_lu == pytest.approx(before.range_lu, abs=2e-5)


@given(seeds)
def test_swapped_channels_are_as_loud(seed):
    samples = signal(seed)
    assert loudness(samples[::-1].copy()).integrated == pytest.approx(loudness(samples).integrated, abs=1e-9)


@given(seeds)
def test_twice_the_same_is_as_loud(seed):
    samples = signal(seed)
    twice = np.concatenate([samples, samples], axis=1)
    assert loudness(twice).integrated == pytest.approx(loudness(samples).integrated, abs=0.1)


@given(seeds, st.integers(1, 70_000))
def test_loudness_and_peak_do_not_depend_on_the_blocks(seed, block):
    samples = signal(seed, 2.0)
    assert loudness(samples, block).integrated == pytest.approx(loudness(samples).integrated, abs=1e-5)
    assert peaks(samples, block).true_peak == pytest.approx(peaks(samples).true_peak, rel=1e-5)


@given(seeds)
def test_the_true_peak_is_no_less_than_the_sample_peak_and_has_no_sign(seed):
    samples = signal(seed, 1.0)
    measured = peaks(samples)
    assert measured.true_peak >= measured.sample_peak == np.abs(samples).max()
    assert peaks(-samples).true_peak == measured.true_peak


@given(st.floats(100.0, 3_500.0), st.floats(0.0, 360.0))
def test_the_true_peak_of_a_sine_is_its_amplitude(hz, phase):
    time = np.arange(RATE) / RATE
    fade = np.minimum(1, np.minimum(time, 1 - time) * 20)
    tone = (0.5 * fade * np.sin(2 * np.pi * hz * time + np.deg2rad(phase))).astype(np.float32)
    assert 20 * np.log10(peaks(tone[None]).true_peak / 0.5) == pytest.approx(0.0, abs=0.3)


@given(seeds, st.integers(1, 5_000), st.sampled_from(["weighting", "highpass"]))
def test_a_filter_does_not_depend_on_the_blocks(seed, block, kind):
    sections = k_weighting(RATE) if kind == "weighting" else highpass(RATE, 80.0)
    samples = signal(seed, 1.0, 1)
    whole = SectionFilter(sections, 1, np.float64)(samples)
    parts = SectionFilter(sections, 1, np.float64)
    joined = np.concatenate([parts(samples[:, at : at + block]) for at in range(0, RATE, block)], axis=1)
    assert np.abs(joined - whole).max() < 1e-12


# ── the limiter ──────────────────────────────────────────────────────────────────────────────────


def limited(samples, block=65_536, **options):
    settings = {"ceiling_db": -1.0, "lookahead_ms": 5.0, "release_db_per_second": 0.0} | options
    limiter = Limiter(RATE, len(samples), **settings)
    parts = [limiter.feed(samples[:, at : at + block]) for at in range(0, samples.shape[1], block)]
    return np.concatenate([*parts, limiter.finish()], axis=1), limiter


@given(seeds, st.floats(0.0, 30.0), st.sampled_from([0.0, 60.0]), st.floats(1.0, 20.0))
def test_the_limiter_keeps_length_sign_and_ceiling(seed, gain, release, lookahead):
    samples = signal(seed, 0.5) * np.float32(10 ** (gain / 20))
    out, limiter = limited(samples, release_db_per_second=release, lookahead_ms=lookahead)
    assert out.shape == samples.shape
    assert (np.abs(out) <= np.abs(samples) * (1 + 1e-6)).all()
    assert (out * samples >= 0).all()
    assert np.abs(out).max() <= 10 ** (-1.0 / 20)
    assert peaks(out).true_peak <= 10 ** (-0.6 / 20)  # white noise, by a filter of a twelfth the length
    assert limiter.max_reduction_db >= 0


@given(seeds, st.integers(1, 9_000))
def test_the_limiter_does_not_depend_on_the_blocks(seed, block):
    samples = signal(seed, 0.5) * np.float32(10)
    assert np.abs(limited(samples, block)[0] - limited(samples)[0]).max() < 1e-5


@given(seeds)
def test_the_limiter_leaves_quiet_signals_alone(seed):
    samples = signal(seed, 0.5) * np.float32(0.3)
    out, limiter = limited(samples)
    assert np.array_equal(out, samples)
    assert limiter.limited == 0


@given(seeds)
def test_one_gain_serves_all_channels(seed):
    samples = signal(seed, 0.3) * np.float32(10)
    samples[1] = samples[0] * np.float32(0.25)
    out, _ = limited(samples)
    assert np.abs(out[1] - out[0] * np.float32(0.25)).max() < 1e-7


@given(st.lists(st.floats(0.01, 1.0, width=32), max_size=300), st.integers(0, 20), st.integers(1, 50))
def test_the_sliding_minimum_is_one(values, reach, block):
    values = np.array(values, np.float32)
    stage = SlidingMinimum(reach)
    padded = np.concatenate([values, np.ones(reach, np.float32)])
    got = np.concatenate([stage.feed(padded[at : at + block]) for at in range(0, len(padded) + 1, block)])
    expected = [min(values[max(0, at - reach) : at + reach + 1]) for at in range(len(values))]
    assert np.array_equal(got, np.array(expected, np.float32))


@given(st.lists(st.floats(0.01, 1.0, width=32), min_size=1, max_size=300), st.floats(1.0, 5_000.0), st.integers(1, 50))
def test_the_release_is_the_recursion(values, slope, block):
    values = np.array(values, np.float32)
    stage = Release(RATE, slope)
    got = np.concatenate([stage.feed(values[at : at + block]) for at in range(0, len(values), block)])
    level, expected = 0.0, []
    for value in values:
        level = min(20 * np.log10(value), level + slope / RATE, 0.0)
        expected.append(10 ** (level / 20))
    assert np.allclose(got, expected, rtol=1e-5)
    assert (got <= values * (1 + 1e-6)).all()


@given(st.lists(st.floats(0.01, 1.0, width=32), max_size=600), st.integers(0, 150), st.integers(1, 200))
def test_the_mean_lies_between_its_neighbours(values, half, block):
    values = np.array(values, np.float32)
    stage = HannMean(2 * half + 1)
    padded = np.concatenate([values, np.ones(half, np.float32)])
    got = np.concatenate([stage.feed(padded[at : at + block]) for at in range(0, len(padded) + 1, block)])
    assert len(got) == len(values)
    weights = np.hanning(2 * half + 3)[1:-1]
    around = np.concatenate([np.ones(half), values, np.ones(half)])
    expected = np.convolve(around, weights / weights.sum(), "valid") if len(values) else np.empty(0)
    assert np.allclose(got, expected, atol=1e-5)
