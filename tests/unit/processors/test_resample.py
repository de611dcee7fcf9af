"""`resample`: the sound stays in place and pure, and what the new rate cannot hold goes."""

from pathlib import Path

import numpy as np
import pytest

from musproj.errors import AudioTruncatedError
from musproj.processors import blocks
from musproj.processors._runs.resample_params import ResampleParams
from musproj.processors.resample import resample
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 44_100


@pytest.fixture
def convert(tmp_path):
    """Give a function that resamples samples or a file, and returns outcome, path and context."""
    count = 0

    def convert(source, rate=RATE, subtype="FLOAT", **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = source if isinstance(source, Path) else tones.write(tmp_path / f"in-{count}.wav", source, rate, subtype)
        ctx = RecordingContext(workdir)
        outcome = resample.run({"input": as_input(path)}, ResampleParams(**params), ctx)
        return outcome, outcome.files["resampled"], ctx

    return convert


def dbfs(samples):
    """Return the RMS, as that of a sine whose peak it were."""
    return 10 * np.log10(2 * np.square(samples, dtype=np.float64).mean() + 1e-30)


@pytest.mark.parametrize("quality", ["HQ", "VHQ"])
def test_a_tone_there_and_back_is_the_same_tone(convert, quality):
    source = tones.spread(tones.sine(997.0, -1.0, 4.0, RATE), 1)

    _, up, _ = convert(source, sample_rate=48_000, quality=quality)
    _, back, _ = convert(up, sample_rate=RATE, quality=quality)
    found = decode(back)

    assert len(found) == len(source)
    assert dbfs((found - source)[2_000:-2_000]) < -100


@pytest.mark.parametrize("quality", ["HQ", "VHQ"])
def test_what_the_new_rate_cannot_hold_is_gone(convert, quality):
    source = tones.spread(tones.sine(23_000.0, -1.0, 2.0, 96_000), 1)

    found = decode(convert(source, 96_000, sample_rate=RATE, quality=quality)[1])

    assert dbfs(found[2_000:-2_000]) < -100


@pytest.mark.parametrize("quality", ["MQ", "HQ", "VHQ"])
def test_what_it_can_hold_keeps_its_level(convert, quality):
    source = tones.spread(tones.sine(15_000.0, -6.0, 1.0, 96_000), 1)

    found = decode(convert(source, 96_000, sample_rate=RATE, quality=quality)[1])

    assert dbfs(found[2_000:-2_000]) == pytest.approx(-6.0, abs=0.06 if quality == "MQ" else 0.02)


@pytest.mark.parametrize("after", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 384_000])
@pytest.mark.parametrize("before", [8_000, 44_100, 96_000])
def test_nothing_is_delayed_between_any_rates(convert, before, after):
    moment = 0.5
    time = np.arange(before) / before
    pulse = np.exp(-0.5 * ((time - moment) / 0.002) ** 2)[:, None].astype(np.float32)

    found = decode(convert(pulse, before, sample_rate=after)[1])

    assert len(found) == after
    middle = float((np.arange(after) * found[:, 0]).sum() / found[:, 0].sum()) / after
    assert middle == pytest.approx(moment, abs=2e-6)


@pytest.mark.parametrize("frames", [1, 2, 3, 100, 65_535, 65_536, 65_537, 131_072])
@pytest.mark.parametrize(("before", "after"), [(44_100, 48_000), (48_000, 44_100), (96_000, 8_000), (8_000, 96_000)])
def test_the_length_follows_the_rate(convert, frames, before, after):
    outcome, output, _ = convert(tones.music(3.0)[:frames], before, sample_rate=after)

    expected = max(1, round(frames * after / before))
    assert outcome.data["outputFrames"] == expected
    assert len(decode(output)) == expected


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24), ("PCM_16", 24)])
@pytest.mark.parametrize("container", ["wav", "flac"])
def test_the_own_rate_is_a_copy(convert, subtype, bits, container):
    source = tones.music(3.0)

    outcome, output, _ = convert(source, subtype=subtype, sample_rate=RATE, bits=bits, format=container)

    np.testing.assert_array_equal(
        decode(output), np.round(source * 2 ** (int(subtype[-2:]) - 1)) / 2 ** (int(subtype[-2:]) - 1)
    )
    assert outcome.data["outputFrames"] == len(source)


def test_peaks_that_grow_are_counted(convert):
    square = tones.spread(np.sign(tones.sine(441.0, 0.0, 1.0, RATE) + 1e-9), 1)

    outcome, output, _ = convert(square, sample_rate=48_000)

    assert outcome.data["clippedSamples"] > 100
    assert np.abs(decode(output)).max() <= 1.0


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_channels_keep_their_places(convert, channels):
    source = np.stack([tones.sine(300.0 + 211 * n, -10.0, 1.0, RATE) for n in range(channels)], 1).astype(np.float32)

    _, output, _ = convert(source, sample_rate=48_000)
    found = decode(output)
    time = np.arange(len(found)) / 48_000
    expected = np.stack([np.sin(2 * np.pi * (300.0 + 211 * n) * time) for n in range(channels)], 1)

    assert np.abs(expected.T @ found).argmax(axis=1).tolist() == list(range(channels))


@pytest.mark.parametrize("block_frames", [4_096, 1_000_003])
def test_the_block_size_changes_nothing_that_can_be_heard(convert, monkeypatch, block_frames):
    source = tones.music(4.0)
    reader = blocks.reader
    usual = decode(convert(source)[1])

    monkeypatch.setattr(blocks, "reader", lambda *args, **options: reader(*args, **options, block_frames=block_frames))
    other = decode(convert(source)[1])

    assert np.abs(usual - other).max() <= 2.0**-23  # a step of 24 bits


def test_dither_repeats_for_the_same_input(convert):
    source = tones.music(1.0)

    first, second = (decode(convert(source, bits=16, dither="tpdf")[1]) for _ in range(2))

    np.testing.assert_array_equal(first, second)
    assert 0 < np.abs(first - decode(convert(source, bits=16)[1])).max() <= 2 * 2.0**-15


def test_a_cut_file_is_told_or_refused(convert, tmp_path):
    path = tones.write(tmp_path / "whole.wav", tones.music(2.0), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert convert(path)[0].data["truncated"] is True
    with pytest.raises(AudioTruncatedError):
        convert(path, strict=True)


def test_the_result_holds_the_keys_of_its_page(convert, told_keys):
    data = convert(tones.music(1.0))[0].data

    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("resample") - sometimes == set(data)
