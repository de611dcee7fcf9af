"""No bytes whatever make the reader or the probe do anything but read or refuse."""

import contextlib
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.errors import ProcessingError
from musproj.processors import blocks
from musproj.processors.probe import probe_file
from musproj.testing import tones

LIMITS = blocks.Limits(max_duration_seconds=60.0)
SOUND = (np.arange(4_000) % 3_000 - 1_500).astype("<i2").tobytes()

words = st.integers(0, 2**16 - 1)
longs = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))


def read_or_refuse(path):
    """Read all of `path`; whatever happens is an error with a code, or finite samples, and is quick."""
    began = time.monotonic()
    with contextlib.suppress(ProcessingError):
        probe_file(path, LIMITS)
    try:
        with blocks.reader(path, limits=LIMITS) as source:
            for _, block in source:
                assert np.isfinite(block).all()
    except ProcessingError:
        pass
    assert time.monotonic() - began < 5.0  # a second when the machine is idle


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "upload"


@given(words, words, longs, longs, words, words, st.sampled_from([b"RIFF", b"RIFX", b"RF64", b"BW64"]), longs, longs)
def test_any_wav_header(path, tag, channels, rate, byte_rate, align, bits, magic, riff_size, data_size):
    order = ">" if magic == b"RIFX" else "<"
    form = b"".join(
        value.to_bytes(size, "big" if order == ">" else "little")
        for value, size in ((tag, 2), (channels, 2), (rate, 4), (byte_rate, 4), (align, 2), (bits, 2))
    )
    path.write_bytes(
        tones.riff(
            tones.chunk(b"fmt ", form, order=order),
            tones.chunk(b"data", SOUND, data_size, order=order),
            magic=magic,
            size=riff_size,
            order=order,
        )
    )
    read_or_refuse(path)


chunks = st.lists(
    st.tuples(
        st.sampled_from([b"fmt ", b"data", b"LIST", b"ds64", b"JUNK", b"\0\0\0\0"]),
        st.binary(max_size=60),
        st.one_of(st.none(), longs),
    ),
    max_size=8,
)


@given(chunks)
def test_any_order_of_chunks(path, parts):
    path.write_bytes(tones.riff(*(tones.chunk(name, body, claimed) for name, body, claimed in parts)))
    read_or_refuse(path)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Give small, valid files of every container that can be written here."""
    folder = tmp_path_factory.mktemp("originals")
    return {
        name: tones.write(
            folder / f"x.{name}", tones.music(0.3), 44_100 if name != "opus" else 48_000, None
        ).read_bytes()
        for name in ("wav", "aiff", "caf", "flac", "mp3", "ogg", "opus")
    }


@given(
    st.sampled_from(["wav", "aiff", "caf", "flac", "mp3", "ogg", "opus"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.integers(0, 120),
    st.floats(0.0, 1.0),
)
def test_flipped_and_cut_bytes(path, originals, name, flips, head, cut):
    """Half of the flips hit the header, where they hurt."""
    data = bytearray(originals[name])
    for index, (place, value) in enumerate(flips):
        span = head if index % 2 and head else len(data) - 1
        data[int(place * span)] = value
    path.write_bytes(data[: len(data) - int(cut**4 * len(data))])
    read_or_refuse(path)


@given(
    st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"caff", b"FORM\0\0\0\0AIFF", b"ID3", b"\xff\xfb"]),
    st.binary(max_size=400),
)
def test_any_bytes_behind_a_magic(path, magic, rest):
    path.write_bytes(magic + rest)
    read_or_refuse(path)


@given(
    st.lists(st.floats(-2.0, 2.0, width=32), min_size=2, max_size=200).filter(lambda values: len(values) % 2 == 0),
    st.sampled_from(["FLOAT", "PCM_16", "PCM_24", "PCM_32"]),
)
def test_what_is_written_comes_back(path, values, subtype):
    samples = np.array(values, np.float32).reshape(-1, 2)
    wav = path.with_suffix(".wav")
    tones.write(wav, samples, 44_100, subtype)
    with blocks.reader(wav) as source:
        got = np.concatenate([block.copy() for _, block in source])
    if subtype == "FLOAT":
        assert np.array_equal(got, samples)
    else:
        step = 2.0 ** -(int(subtype[4:]) - 1)
        assert np.abs(got - np.clip(samples, -1, 1 - step)).max() <= max(step / 2, 2.0**-24)
