"""`denoise`: less noise, the same voice, in place, whatever the blocks, the rate and the channels."""

from pathlib import Path

import numpy as np
import pytest

from musproj.processors._dsp.gate import NoiseReducer
from musproj.processors._runs.denoise_params import DenoiseParams
from musproj.processors.denoise import denoise
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

SPEECH = Path("/usr/share/sounds/alsa")
RATE = 44_100


def voice():
    """Return recorded words with pauses of 0.4 s between them, 48 kHz, float32 (frames,)."""
    files = sorted(SPEECH.glob("[FRS]*.wav"))
    if not files:
        pytest.skip("needs the recordings of alsa-utils")
    words = [decode(path)[:, 0] for path in files]
    return np.concatenate([part for word in words for part in (word, np.zeros(19_200, np.float32))])


def pink(frames, random):
    spectrum = np.fft.rfft(random.standard_normal(frames))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, frames)


NOISES = {"white": lambda frames, random: random.standard_normal(frames), "pink": pink}


def si_sdr(estimate, reference):
    """Return the scale-invariant ratio of signal to distortion, dB (Le Roux et al. 2019)."""
    estimate, reference = estimate.astype(float), reference.astype(float)
    target = estimate @ reference / (reference @ reference) * reference
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def at_ten_db(noise, signal):
    return (noise * np.sqrt(np.square(signal).mean() / np.square(noise).mean() / 10)).astype(np.float32)


def reduced(samples, rate, block, **options):
    reducer = NoiseReducer(rate, len(samples), **options)
    parts = [reducer.feed(samples[:, at : at + block]) for at in range(0, samples.shape[1], block)]
    return np.concatenate([*parts, reducer.finish()], axis=1)


def run(samples, ctx, tmp_path, rate=RATE, **params):
    path = tones.write(tmp_path / "in.wav", samples, rate)
    outcome = denoise.run({"input": as_input(path)}, DenoiseParams(**params), ctx)
    return outcome.data, decode(outcome.files["denoised"])


@pytest.mark.parametrize("method", ["gate", "wiener"])
@pytest.mark.parametrize(("name", "gain"), [("white", 6.0), ("pink", 4.0)])
def test_a_voice_stands_out_from_steady_noise(ctx, tmp_path, name, gain, method):
    clean = voice()
    noisy = clean + at_ten_db(NOISES[name](len(clean), np.random.default_rng(1)), clean)

    data, output = run(noisy[:, None], ctx, tmp_path, 48_000, method=method)

    assert si_sdr(output[:, 0], clean) >= si_sdr(noisy, clean) + gain
    assert data["noiseFloorDbfsAfter"] <= data["noiseFloorDbfsBefore"] - 5.0


def test_the_voice_stays_where_it_is(ctx, tmp_path):
    clean = voice()
    _, output = run(clean[:, None], ctx, tmp_path, 48_000)

    spectrum = np.fft.rfft(clean, 2 * len(clean)).conj() * np.fft.rfft(output[:, 0], 2 * len(clean))
    assert np.argmax(np.fft.irfft(spectrum)) == 0


def test_a_held_tone_is_no_noise(ctx, tmp_path):
    tone = tones.spread(tones.sine(440.0, -12.0, 20.0, RATE), 2)
    _, output = run(tone, ctx, tmp_path)
    assert 20 * np.log10(output.std() / tone.std()) > -0.5


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 192_000])
def test_nothing_to_lower_changes_nothing(rate):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 7 * rate + 13)).astype(np.float32)
    output = reduced(samples, rate, 65_536, reduction_db=0.0)
    assert np.abs(output - samples).max() < 10 ** (-120 / 20)


@pytest.mark.parametrize("frames", [0, 1, 511, 512, 1_535, 1_536, 1_537, 2_048, 65_536, 65_537])
def test_any_length_comes_back(frames):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (1, frames)).astype(np.float32)
    assert reduced(samples, RATE, 65_536, reduction_db=20.0).shape == samples.shape


@pytest.mark.parametrize("method", ["gate", "wiener"])
def test_the_block_size_changes_nothing(method):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20 * RATE + 17)).astype(np.float32)
    expected = reduced(samples, RATE, 65_536, reduction_db=18.0, method=method)
    for block in (4_096, 1_000_003):
        np.testing.assert_array_equal(reduced(samples, RATE, block, reduction_db=18.0, method=method), expected)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_all_channels_are_lowered_alike(ctx, tmp_path, channels):
    noise = np.random.default_rng(2).uniform(-0.1, 0.1, (3 * RATE, 1)) * (1 + np.arange(channels)) / channels
    _, output = run(noise.astype(np.float32), ctx, tmp_path)
    levels = output[RATE:].std(axis=0) / noise[RATE:].std(axis=0)
    assert levels.max() < 0.3
    assert levels.max() / levels.min() < 1.01


def test_silence_stays_silent(ctx, tmp_path):
    data, output = run(np.zeros((2 * RATE, 2), np.float32), ctx, tmp_path)
    assert not output.any()
    assert "noiseFloorDbfsBefore" not in data


def test_the_result_holds_the_keys_of_its_page(ctx, tmp_path, told_keys):
    data, _ = run(tones.music(4.0), ctx, tmp_path)
    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("denoise") - sometimes == set(data) - sometimes


@pytest.mark.parametrize("seconds", [1.0, 2.0, 7.0, 13.0])
def test_digital_silence_before_the_noise_is_not_taken_for_it(tmp_path, seconds):
    noise = np.random.default_rng(1).normal(0, 0.01, (20 * 22_050, 1))
    silence = np.zeros((round(seconds * 22_050), 1))
    path = tones.write(tmp_path / "in.wav", np.concatenate([silence, noise]).astype(np.float32), 22_050)
    workdir = tmp_path / "work"
    workdir.mkdir()

    outcome = denoise.run({"input": as_input(path)}, DenoiseParams(), RecordingContext(workdir))

    assert decode(outcome.files["denoised"])[-10 * 22_050 :].std() < 0.01 * 10 ** (-8 / 20)
