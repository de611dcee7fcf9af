"""Each stage of the meters and of the limiter is what its plain definition says, however the blocks fall."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.processors._dsp.biquads import SectionFilter, highpass, k_weighting
from musproj.processors._dsp.limiter import HannMean, Release, SlidingMinimum
from musproj.processors._dsp.truepeak import PeakMeter

RATE = 16_000

gains = st.lists(st.floats(2.0**-6, 1.0, width=32), max_size=400).map(lambda values: np.array(values, np.float32))


def streamed(stage, values, block):
    """Feed `values` in blocks and join what comes out."""
    parts = [stage.feed(values[at : at + block]) for at in range(0, len(values), block)]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


@given(gains, st.integers(0, 20), st.integers(1, 50))
def test_the_sliding_minimum_looks_both_ways(values, reach, block):
    got = streamed(SlidingMinimum(reach), np.concatenate([values, np.ones(reach, np.float32)]), block)
    expected = [min(values[max(0, at - reach) : at + reach + 1]) for at in range(len(values))]
    assert np.array_equal(got, np.array(expected, np.float32))


@given(gains, st.floats(1.0, 5_000.0), st.integers(1, 50))
def test_the_release_is_the_recursion(values, slope, block):
    got = streamed(Release(RATE, slope), values, block)
    level, expected = 0.0, []
    for value in values:
        level = min(20 * np.log10(value), level + slope / RATE, 0.0)
        expected.append(10 ** (level / 20))
    assert np.allclose(got, expected, rtol=1e-5)
    assert (got <= values * (1 + 1e-6)).all()


@given(gains, st.integers(0, 150), st.integers(1, 200))
def test_the_mean_is_a_convolution(values, half, block):
    got = streamed(HannMean(2 * half + 1), np.concatenate([values, np.ones(half, np.float32)]), block)
    assert len(got) == len(values)
    weights = np.hanning(2 * half + 3)[1:-1]
    around = np.concatenate([np.ones(half), values, np.ones(half)])
    expected = np.convolve(around, weights / weights.sum(), "valid") if len(values) else np.empty(0)
    assert np.allclose(got, expected, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(50, 5_000), st.sampled_from(["weighting", "high-pass"]))
def test_a_filter_does_not_hear_the_blocks(seed, block, kind):
    sections = k_weighting(RATE) if kind == "weighting" else highpass(RATE, 80.0)
    samples = np.random.default_rng(seed).standard_normal((1, RATE))
    whole = SectionFilter(sections, 1, np.float64)(samples)
    parts = SectionFilter(sections, 1, np.float64)
    joined = np.concatenate([parts(samples[:, at : at + block]) for at in range(0, RATE, block)], axis=1)
    assert np.abs(joined - whole).max() < 1e-12


@given(st.floats(100.0, 3_500.0), st.floats(0.0, 360.0))
def test_the_true_peak_of_a_sine_is_its_amplitude(hz, phase):
    time = np.arange(RATE) / RATE
    fade = np.minimum(1, np.minimum(time, 1 - time) * 20)
    tone = (0.5 * fade * np.sin(2 * np.pi * hz * time + np.deg2rad(phase))).astype(np.float32)
    meter = PeakMeter(RATE, 1)
    meter.feed(tone[None])
    meter.finish()
    assert 20 * np.log10(meter.true_peak / 0.5) == pytest.approx(0.0, abs=0.3)
