"""`separate`: the two files are the mix, and each holds more of its own than the mix did."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musproj.processors._dsp.repeating import repeating
from musproj.processors._runs.segments import Segmented
from musproj.processors._runs.separate_params import SeparateParams
from musproj.processors.separate import separate
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 22_050


@pytest.fixture
def separated(tmp_path):
    """Give a function that separates a mix, and returns vocals, instrumental, facts and context."""
    count = 0

    def separated(mix, rate=RATE, subtype="PCM_24", **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = tmp_path / f"in-{count}.wav"
        soundfile.write(path, mix, rate, subtype)
        ctx = RecordingContext(workdir)
        outcome = separate.run({"input": as_input(path)}, SeparateParams(**params), ctx)
        return decode(outcome.files["vocals"]), decode(outcome.files["instrumental"]), outcome.data, ctx, decode(path)

    return separated


def si_sdr(estimate, reference):
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""
    estimate, reference = (signal.reshape(-1).astype(float) for signal in (estimate, reference))
    target = reference * (estimate @ reference) / (reference @ reference)
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def accompaniment(seconds, seed=1):
    """Return two seconds of stereo music, again and again, each turn with a bit of noise of its own."""
    random = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    turn = np.zeros((len(time), 2))
    for beat in range(8):
        at = beat * len(time) // 8
        rest = time[: len(time) - at]
        hz, pan = random.choice([110, 165, 220, 330, 440, 660]), random.uniform(-1, 1)
        tone = np.exp(-3 * rest) * sum(np.sin(2 * np.pi * hz * k * rest) / k for k in range(1, 6))
        turn[at:, 0] += tone * (1 - pan)
        turn[at:, 1] += tone * (1 + pan)
    whole = np.tile(turn, (round(seconds / 2), 1))
    return 0.1 * whole + random.normal(0, 0.002, whole.shape)


def voice(seconds, seed=2):
    """Return syllables of a gliding pitch with formants, in the middle, with pauses."""
    random = np.random.default_rng(seed)
    out = []
    while sum(map(len, out)) < seconds * RATE:
        time = np.arange(round(random.uniform(0.1, 0.3) * RATE)) / RATE
        pitch = random.uniform(120, 180) * (1 + random.uniform(-0.4, 0.4) * time / time[-1])
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formant = random.uniform(400, 1_500)
        sound = sum(np.sin(k * phase) * np.exp(-(((k * 150 - formant) / 400) ** 2)) for k in range(1, 40))
        out += [sound * np.hanning(len(time)), np.zeros(round(random.uniform(0.02, 0.2) * RATE))]
    mono = np.concatenate(out)[: round(seconds * RATE)]
    return np.stack([mono, mono], axis=1) * 0.08


def test_vocals_and_instrumental_are_purer_than_the_mix(separated):
    sung, played = voice(24.0), accompaniment(24.0)
    mix = sung + played

    vocals, instrumental, data, _, _ = separated(mix)

    assert si_sdr(vocals, sung) > si_sdr(mix, sung) + 6
    assert si_sdr(instrumental, played) > si_sdr(mix, played) + 4
    assert data["quality"] == "basic"
    assert 0 < data["vocalsEnergyRatio"] < 1


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_16", 24), ("PCM_24", 24), ("FLOAT", 24)])
@pytest.mark.parametrize("form", ["wav", "flac"])
def test_both_add_up_to_the_mix(separated, subtype, bits, form):
    mix = 0.7 * tones.music(13.0, RATE)

    vocals, instrumental, data, _, read = separated(mix, subtype=subtype, bits=bits, format=form)

    expected = np.rint(read * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)
    assert "clippedSamples" not in data
    assert np.array_equal(vocals.astype(float) + instrumental, expected)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 10.0, 14.99, 15.01, 23.0])
def test_every_length_is_kept(separated, seconds):
    mix = 0.5 * tones.music(seconds, 8_000)

    vocals, instrumental, _, ctx, read = separated(mix, 8_000, segment_seconds=10.0)

    assert len(vocals) == len(instrumental) == len(mix)
    assert np.array_equal(vocals.astype(float) + instrumental, read)
    assert ctx.fractions[-1] == 1


def test_a_mono_file_is_told_to_be_one(separated):
    mix = 0.5 * tones.music(4.0, RATE, 1)

    vocals, instrumental, _, ctx, read = separated(mix)

    assert ctx.codes() == ["monoSeparation"]
    assert np.array_equal(vocals + instrumental, read)


def test_other_channels_belong_to_the_instrumental(separated):
    mix = 0.5 * tones.music(4.0, RATE, 6)

    vocals, instrumental, _, _, read = separated(mix)

    assert not vocals[:, 2:].any()
    assert np.array_equal(instrumental[:, 2:], read[:, 2:])


def test_silence_stays_silent(separated):
    vocals, instrumental, data, _, _ = separated(np.zeros((3 * RATE, 2)))

    assert not vocals.any()
    assert not instrumental.any()
    assert "vocalsEnergyRatio" not in data


def test_sides_are_no_vocals(separated):
    mono = tones.music(6.0, RATE, 1)[:, 0]

    vocals, _, data, _, _ = separated(0.5 * np.stack([mono, -mono], axis=1))

    assert not vocals.any()
    assert data["vocalsEnergyRatio"] == 0


def test_the_facts_are_those_of_the_page(separated, told_keys):
    loud = np.clip(4 * tones.music(6.0, RATE), -1, 1)

    assert set(separated(loud)[2]) <= told_keys("separate")


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 4_000),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=5),
    overlap=st.integers(1, 99),
)
def test_segments_give_back_what_nothing_was_done_to(frames, sizes, overlap):
    signal = np.random.default_rng(frames).normal(0, 1, (2, frames)).astype(np.float32)
    segments = Segmented(np.copy, 2, 200, overlap)
    pairs, at, turn = [], 0, 0
    while at < frames:
        size = sizes[turn % len(sizes)]
        pairs += [(a.copy(), b.copy()) for a, b in segments.feed(signal[:, at : at + size])]
        at, turn = at + size, turn + 1
    pairs += [(a.copy(), b.copy()) for a, b in segments.finish()]

    assert np.array_equal(np.concatenate([given for given, _ in pairs], axis=1), signal)
    assert np.abs(np.concatenate([made for _, made in pairs], axis=1) - signal).max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 60), similar=st.integers(1, 25), apart=st.integers(0, 10), seed=st.integers(0, 99))
def test_what_repeats_is_the_median_of_the_most_similar(frames, similar, apart, seed):
    magnitudes = np.random.default_rng(seed).random((frames, 7), dtype=np.float32)
    unit = magnitudes / np.linalg.norm(magnitudes, axis=1, keepdims=True)
    alike = unit @ unit.T
    expected = []
    for here in range(frames):
        far = [other for other in range(frames) if abs(other - here) > apart]
        chosen = [here, *sorted(far, key=lambda other: -alike[here, other])[: similar - 1]]
        expected.append(len(chosen) == min(similar, frames) and np.median(magnitudes[chosen], axis=0))

    found = repeating(magnitudes, similar=similar, apart=apart, check=lambda: None)

    for here, median in enumerate(expected):
        if median is not False:  # else frames that are too near fill the number
            assert np.allclose(found[here], np.minimum(median, magnitudes[here]))
