"""Laws of loudness, peaks and formats, whatever the signal."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.processors._dsp.limiter import Limiter
from musproj.processors._dsp.loudness import LoudnessMeter
from musproj.processors._dsp.truepeak import PeakMeter
from musproj.testing import tones
from musproj.testing.processors import decode

RATE = 8_000
seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(1, 2 * RATE), max_size=8)


def signal(seed, seconds=2.0, channels=2):
    """Return noise and tones of wandering level, (channels, frames), float32 within ±0.5."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * random.uniform(50, 3_500, (channels, 1)) * time + random.uniform(0, 6, (channels, 1)))
    mixed = (tone + random.standard_normal((channels, len(time)))) * (0.6 + 0.4 * np.sin(random.uniform(1, 20) * time))
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)


def parts(samples, at):
    """Cut (channels, frames) into blocks of the lengths `at`, and a rest."""
    edges = np.clip(np.cumsum([0, *at, samples.shape[1]]), 0, samples.shape[1])
    return [np.ascontiguousarray(samples[:, a:b]) for a, b in itertools.pairwise(edges) if b > a]


def loudness(samples, at=()):
    meter = LoudnessMeter(RATE, (1.0,) * len(samples))
    for part in parts(samples, at):
        meter.feed(part)
    return meter.result()


def true_peak(samples, at=()):
    meter = PeakMeter(RATE, len(samples))
    for part in parts(samples, at):
        meter.feed(part)
    meter.finish()
    return meter.true_peak


@given(seeds, st.floats(-20.0, 5.0))
def test_a_gain_moves_loudness_by_itself(seed, gain_db):
    samples = signal(seed)
    louder = samples * np.float32(10 ** (gain_db / 20))

    before, after = loudness(samples), loudness(louder)

    assert after.integrated == pytest.approx(before.integrated + gain_db, abs=1e-3)
    assert after.max_momentary == pytest.approx(before.max_momentary + gain_db, abs=1e-3)


@given(seeds)
def test_swapped_channels_are_as_loud(seed):
    samples = signal(seed)

    assert loudness(samples[::-1]).integrated == pytest.approx(loudness(samples).integrated, abs=1e-5)


@given(seeds)
def test_twice_the_same_is_as_loud(seed):
    samples = (np.random.default_rng(seed).standard_normal((2, 6 * RATE)) * 0.05).astype(np.float32)
    twice = np.concatenate([samples, samples], axis=1)
    assert loudness(twice).integrated == pytest.approx(loudness(samples).integrated, abs=0.1)


@given(seeds, cuts)
def test_blocks_change_no_measure(seed, at):
    samples = signal(seed)

    assert loudness(samples, at).integrated == pytest.approx(loudness(samples).integrated, abs=1e-4)
    assert true_peak(samples, at) == pytest.approx(true_peak(samples), rel=1e-5)


@given(seeds)
def test_a_true_peak_is_no_less_than_the_samples_and_knows_no_sign(seed):
    samples = signal(seed)

    assert true_peak(samples) >= np.abs(samples).max()
    assert true_peak(-samples) == pytest.approx(true_peak(samples), rel=1e-6)


def limited(samples, at=(), **options):
    settings = {"ceiling_db": -6.0, "lookahead_ms": 5.0, "release_db_per_second": 0.0} | options
    limiter = Limiter(RATE, len(samples), **settings)
    return np.concatenate([*(limiter.feed(part) for part in parts(samples, at)), limiter.finish()], axis=1)


@given(seeds, cuts, st.sampled_from([0.0, 60.0]), st.floats(-12.0, 0.0))
def test_the_limiter_keeps_length_and_ceiling_and_never_raises(seed, at, release, ceiling):
    samples = 2 * signal(seed, 0.5)

    out = limited(samples, at, release_db_per_second=release, ceiling_db=ceiling)

    assert out.shape == samples.shape
    assert np.abs(out).max() <= 10 ** (ceiling / 20)
    assert (np.abs(out) <= np.abs(samples) * 1.00001).all()
    assert true_peak(out) <= 10 ** ((ceiling + 0.1) / 20)


@given(seeds, cuts)
def test_the_limiter_does_not_hear_the_blocks(seed, at):
    samples = 2 * signal(seed, 0.5)

    np.testing.assert_allclose(limited(samples, at), limited(samples), atol=1e-5)


@given(seeds, cuts)
def test_what_is_below_the_ceiling_passes_unchanged(seed, at):
    samples = signal(seed, 0.5) * np.float32(0.1)

    np.testing.assert_array_equal(limited(samples, at), samples)


@given(
    seeds,
    st.sampled_from(
        [("x.wav", "PCM_16"), ("x.wav", "PCM_24"), ("x.wav", "PCM_32"), ("x.wav", "FLOAT"), ("x.flac", "PCM_24")]
    ),
    st.integers(1, 8),
    st.integers(1, 5_000),
)
def test_what_was_read_is_written_bit_by_bit(seed, form, channels, frames):
    samples = signal(seed, channels=channels)[:, :frames].T
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, form[0]), Path(folder, "again-" + form[0])
        tones.write(first, samples, RATE, form[1])
        once = decode(first)
        tones.write(second, once, RATE, form[1])

        np.testing.assert_array_equal(decode(second), once)
        np.testing.assert_allclose(once, samples, atol=2.0**-15)
