"""Loudness and true peak against the EBU's tables and against two independent meters."""

import re
import subprocess

import numpy as np
import pytest

from musproj.processors._dsp.biquads import SectionFilter, highpass, k_weighting
from musproj.processors._dsp.loudness import LoudnessMeter, _loudness_range, channel_weights
from musproj.processors._dsp.truepeak import PeakMeter, to_db
from musproj.testing import tones

ODD_BLOCKS = 20_011
CASES = tones.ebu_cases()


def measured(samples, rate, weights=None, block=ODD_BLOCKS):
    """Return keys of an `analyze` result, fed in blocks of an odd size, and the range from a window a second."""
    loudness = LoudnessMeter(rate, weights or channel_weights(None, samples.shape[1]))
    peaks = PeakMeter(rate, samples.shape[1])
    for at in range(0, len(samples), block):
        part = np.ascontiguousarray(samples[at : at + block].T)
        loudness.feed(part)
        peaks.feed(part)
    peaks.finish()
    found = loudness.result()
    return {
        "integratedLufs": found.integrated,
        "maxMomentaryLufs": found.max_momentary,
        "maxShortTermLufs": found.max_short_term,
        "loudnessRangeLu": found.range_lu,
        "rangeOfSeconds": _loudness_range(loudness._windows(300)[::10]),
        "truePeakDbtp": to_db(peaks.true_peak),
        "samplePeakDbfs": to_db(peaks.sample_peak),
    }


def assert_case(case, rate):
    samples = case.signal(rate)
    weights = channel_weights(("FL", "FR", "FC", "BL", "BR"), 5) if samples.shape[1] == 5 else None

    value = measured(samples, rate, weights)[case.key]

    assert case.expected - case.below <= value <= case.expected + case.above


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_tables_of_the_ebu_hold(case):
    assert_case(case, 48_000)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("case", CASES[:2], ids=[case.name for case in CASES[:2]])
def test_the_tables_hold_at_other_rates(case, rate):
    assert_case(case, rate)


@pytest.mark.parametrize("case", CASES[2:6], ids=[case.name for case in CASES[2:6]])
def test_gating_holds_where_a_hop_is_no_whole_number_of_samples(case):
    assert_case(case, 11_025)


# ITU-R BS.1770-5, tables 1 and 2; the other rates as libebur128 computes them
@pytest.mark.parametrize(
    ("rate", "shelf", "low"),
    [
        (
            48_000,
            [1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585],
            [-1.99004745483398, 0.99007225036621],
        ),
        (
            44_100,
            [1.53084123005035, -2.65097999515473, 1.16907907992159, -1.66365511325602, 0.71259542807323],
            [-1.98916967362980, 0.98919903578704],
        ),
        (
            96_000,
            [1.55971422897580, -2.92674157825108, 1.37826120231582, -1.84460946989011, 0.85584332293064],
            [-1.99501754472472, 0.99502375904092],
        ),
    ],
)
def test_the_weighting_filter_is_the_one_of_the_standard(rate, shelf, low):
    sections = k_weighting(rate)

    np.testing.assert_allclose(sections[0, [0, 1, 2, 4, 5]], shelf, atol=1e-12)
    np.testing.assert_allclose(sections[1, 4:], low, atol=1e-12)
    np.testing.assert_array_equal(sections[1, :3], [1, -2, 1])


@pytest.mark.parametrize("sections", [k_weighting(44_100), highpass(44_100, 20.0), highpass(192_000, 80.0)])
def test_filtering_by_matrices_equals_filtering_sample_by_sample(sections):
    """The plain recursion of transposed direct form II, in float64, is the reference."""
    noise = np.random.default_rng(3).standard_normal((1, 3_000))
    fast = SectionFilter(sections, 1, np.float64)

    got = np.concatenate([fast(noise[:, :1_000]), fast(noise[:, 1_000:1_001]), fast(noise[:, 1_001:])], axis=1)

    np.testing.assert_allclose(got[0], recursion(sections, noise[0]), atol=1e-9)


def recursion(sections, signal):
    for b0, b1, b2, _, a1, a2 in sections:
        first = second = 0.0
        out = np.empty(len(signal))
        for index, value in enumerate(signal):
            out[index] = b0 * value + first
            first = b1 * value - a1 * out[index] + second
            second = b2 * value - a2 * out[index]
        signal = out
    return signal


# ── other meters ─────────────────────────────────────────────────────────────────────────────────


def noise(seconds, rate, channels):
    """Return noise whose level wanders, so that both gates and the range have work."""
    random = np.random.default_rng(rate + channels)
    frames = round(seconds * rate)
    level = 10 ** (-1.5 + np.sin(np.arange(frames) / rate)) / 8
    return (random.standard_normal((frames, channels)) * level[:, None]).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "channels"), [(44_100, 2), (48_000, 2), (48_000, 1), (8_000, 1), (22_050, 2), (96_000, 2)]
)
def test_libebur128_agrees(libebur128, rate, channels):
    samples = noise(12.0, rate, channels)

    mine, (integrated, spread, peak) = measured(samples, rate), libebur128(samples, rate)

    assert mine["integratedLufs"] == pytest.approx(integrated, abs=0.002)
    assert mine["rangeOfSeconds"] == pytest.approx(spread, abs=0.02)
    assert mine["truePeakDbtp"] == pytest.approx(peak, abs=0.5)  # noise up to half the rate: filters differ


def test_libebur128_agrees_on_music(libebur128):
    samples = tones.music(30.0)

    mine, (integrated, spread, peak) = measured(samples, 44_100), libebur128(samples, 44_100)

    assert mine["integratedLufs"] == pytest.approx(integrated, abs=0.001)
    assert mine["rangeOfSeconds"] == pytest.approx(spread, abs=0.02)
    assert mine["truePeakDbtp"] == pytest.approx(peak, abs=0.3)


def test_ffmpeg_agrees(tmp_path, require_tool):
    samples = tones.music(20.0, 48_000)
    path = tones.write(tmp_path / "music.wav", samples, 48_000)
    command = [require_tool("ffmpeg"), "-nostdin", "-i", path, "-af", "ebur128=peak=true", "-f", "null", "-"]

    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    summary = log[log.rindex("Summary:") :]
    integrated, spread, peak = (
        float(re.search(pattern, summary)[1])
        for pattern in (r"I:\s+(-?[\d.]+) LUFS", r"LRA:\s+([\d.]+) LU", r"Peak:\s+(-?[\d.]+) dBFS")
    )
    mine = measured(samples, 48_000)

    assert mine["integratedLufs"] == pytest.approx(integrated, abs=0.06)  # it prints one decimal
    assert mine["loudnessRangeLu"] == pytest.approx(spread, abs=0.11)
    assert mine["truePeakDbtp"] == pytest.approx(peak, abs=0.4)


# ── channels ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("speakers", "weights"),
    [
        (None, (1.0, 1.0)),
        (("FL", "FR", "FC", "LFE", "BL", "BR"), (1.0, 1.0, 1.0, 0.0, 1.41, 1.41)),
        (("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"), (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41)),
    ],
)
def test_channels_weigh_what_the_standard_says(speakers, weights):
    assert channel_weights(speakers, len(weights)) == weights


# ── true peak ────────────────────────────────────────────────────────────────────────────────────


def test_pruning_finds_the_peak_that_interpolating_everything_finds():
    samples = np.random.default_rng(5).standard_normal((50_000, 2)).astype(np.float32)
    whole = PeakMeter(48_000, 2)
    interpolator = whole._interpolate

    mine = 10 ** (measured(samples, 48_000)["truePeakDbtp"] / 20)
    padded = np.concatenate([np.zeros((23, 2), np.float32), samples, np.zeros((64 + 86, 2), np.float32)])
    everything = max(
        interpolator.peak(np.lib.stride_tricks.sliding_window_view(channel, interpolator.span)[::64])
        for channel in np.ascontiguousarray(padded.T)
    )

    assert mine == pytest.approx(max(everything, np.abs(samples).max()), rel=1e-5)


@pytest.mark.parametrize("rate", [192_000, 384_000])
def test_beyond_192_kilohertz_the_samples_are_the_peak(rate):
    found = measured(tones.spread(tones.sine(1_000.0, -6.0, 0.2, rate), 1), rate)

    assert found["truePeakDbtp"] == found["samplePeakDbfs"]


def test_a_peak_behind_the_last_sample_counts():
    """Two equal samples at the very end: the wave between them and the silence behind is higher than both."""
    end = np.zeros((200, 1), np.float32)
    end[-2:] = 0.9

    assert measured(end, 48_000)["truePeakDbtp"] > to_db(0.9) + 0.5


@pytest.mark.parametrize("frames", [0, 1, 2, 63, 64, 65, 87, 441, 4_410])
def test_any_length_is_measured(frames):
    samples = np.full((frames, 2), 0.25, np.float32)

    found = measured(samples, 44_100)

    assert found["integratedLufs"] is None
    assert (found["truePeakDbtp"] is None) == (frames == 0)
