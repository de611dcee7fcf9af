"""`waveform`: byte by byte what a naive loop finds, read by an independent parser; and a picture of it."""

import json
import math
import struct
import zlib

import numpy as np
import pytest

from musproj.processors._runs.waveform_params import WaveformParams
from musproj.processors.waveform import waveform
from musproj.testing import tones
from musproj.testing.processors import as_input

RATE = 44_100


@pytest.fixture
def run(ctx, tmp_path):
    def run(samples, subtype="PCM_16", **params):
        path = tones.write(tmp_path / "in.wav", samples, RATE, subtype)
        outcome = waveform.run({"input": as_input(path)}, WaveformParams(**params), ctx)
        return outcome.data, outcome.files

    return run


def noise(frames, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)


def integers(samples):
    """Return what 16 bits hold of them."""
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(int)


def parsed(data):
    """Return the levels of a .dat file: header and values, int (pairs, channels, 2)."""
    levels = []
    while data:
        version, flags, rate, spp, length, channels = struct.unpack_from("<iIiiIi", data)
        kind, size = ("b", 1) if flags & 1 else ("h", 2)
        count = length * channels * 2
        values = struct.unpack_from(f"<{count}{kind}", data, 24)
        levels.append(((version, rate, spp, length, channels), np.reshape(values, (length, channels, 2))))
        data = data[24 + count * size :]
    return levels


def naive(values, spp, bits):
    """Return the pairs of int (frames, channels), one group after the other."""
    pairs = []
    for at in range(0, len(values), spp):
        group = values[at : at + spp]
        pairs.append([[int(channel.min()), int(channel.max())] for channel in group.T])
    return [[[math.trunc(v / 256) if bits == 8 else v for v in pair] for pair in row] for row in pairs]


@pytest.mark.parametrize("frames", [1, 255, 256, 257, 65_536, 65_537, 200_000])
@pytest.mark.parametrize(("spp", "bits"), [(256, 8), (256, 16), (441, 16), (3, 8)])
def test_the_peaks_are_what_a_naive_loop_finds(run, frames, spp, bits):
    samples = noise(frames)
    data, files = run(samples, samples_per_pixel=spp, bits=bits, picture=False)
    ((header, values),) = parsed(files["peaks"].read_bytes())

    assert header == (2, RATE, spp, math.ceil(frames / spp), 2)
    assert data["length"] == len(values)
    assert data["bytes"] == files["peaks"].stat().st_size
    assert values.tolist() == naive(integers(samples), spp, bits)


def test_small_negative_values_round_towards_zero_as_audiowaveform_does(run):
    samples = np.array([[-1 / 32_768], [-255 / 32_768], [-256 / 32_768], [1.0]], np.float32)
    _, files = run(samples, samples_per_pixel=2, picture=False)
    ((_, values),) = parsed(files["peaks"].read_bytes())
    assert values[:, 0].tolist() == [[0, 0], [-1, 127]]


def test_floats_are_rounded_and_clipped(run):
    samples = noise(10_000) * 3
    _, files = run(samples, "FLOAT", bits=16, picture=False)
    ((_, values),) = parsed(files["peaks"].read_bytes())
    assert values.tolist() == naive(integers(samples), 256, 16)


def test_the_mix_has_one_channel(run):
    samples = np.column_stack([np.full(1_000, 0.5), np.full(1_000, -0.25)]).astype(np.float32)
    data, files = run(samples, bits=16, channels="mix", picture=False)
    ((header, values),) = parsed(files["peaks"].read_bytes())
    assert (header[4], data["peakChannels"], data["channels"]) == (1, 1, 2)
    assert set(values.ravel().tolist()) == {4_096}


def test_json_holds_the_same(run, tmp_path):
    samples = noise(50_000)
    _, files = run(samples, picture=False, levels=3)
    levels = parsed(files["peaks"].read_bytes())
    _, files = run(samples, picture=False, levels=3, format="json")
    found = json.loads(files["peaks"].read_text())

    for (header, values), level in zip(levels, [found, *found["levels"]], strict=True):
        told = [level[key] for key in ("version", "sample_rate", "samples_per_pixel", "length", "channels")]
        assert told == list(header)
        assert level["bits"] == 8
        assert level["data"] == values.ravel().tolist()


def test_each_level_is_the_one_before_in_pairs(run):
    samples = noise(65_536 * 3 + 777)
    _, files = run(samples, samples_per_pixel=16, bits=16, levels=6, picture=False)
    levels = parsed(files["peaks"].read_bytes())

    assert [header[2] for header, _ in levels] == [16, 32, 64, 128, 256, 512]
    for header, values in levels:
        assert values.tolist() == naive(integers(samples), header[2], 16)


@pytest.mark.parametrize("frames", [1, 300, 400_000])
def test_the_picture_shows_where_it_is_loud(run, frames):
    samples = noise(frames) * np.linspace(0.0, 1.0, frames, dtype=np.float32)[:, None]
    _, files = run(samples)
    data = files["picture"].read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack_from(">II", data, 16)
    assert (width, height) == (1_200, 240)
    (length,) = struct.unpack_from(">I", data, 33)
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(240, 1 + 4 * 1_200)
    opacity = rows[:, 1:].reshape(240, 1_200, 4)[..., 3] / 255
    heights = opacity.sum(axis=0)
    assert heights.min() >= 0.99  # silence is a line
    if frames > 1_200:
        assert heights[-10:].mean() > 200
        assert heights[:100].mean() < 30


def test_equal_jobs_give_equal_bytes(run):
    samples = noise(30_000)
    first = {name: path.read_bytes() for name, path in run(samples)[1].items()}
    assert {name: path.read_bytes() for name, path in run(samples)[1].items()} == first


def test_the_result_holds_the_keys_of_its_page(run, told_keys):
    data, _ = run(noise(1_000))
    assert told_keys("waveform") - {"truncated", "nonFiniteSamples", "outOfRangeSamples"} == set(data)
