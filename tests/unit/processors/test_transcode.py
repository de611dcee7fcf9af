"""`transcode`: the same samples where there is no loss, the same sound where there is, and what the file tells beside."""

import base64
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musproj.application import params as wire
from musproj.errors import (
    AudioTruncatedError,
    EncodeUnsupportedError,
    InvalidParamsError,
    NonFiniteError,
    UnsupportedFormatError,
)
from musproj.processors import blocks
from musproj.processors._formats.tags_read import read_tags
from musproj.processors._runs.transcode_params import TranscodeParams
from musproj.processors.blocks import Tags
from musproj.processors.transcode import transcode
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 44_100
SPEECH = Path("/usr/share/sounds/alsa/Front_Center.wav")
ALL_FIELDS = {
    "title": "Ein Tïtel",
    "artist": "Ärtist",
    "album": "Album",
    "date": "2021",
    "comment": "日本 x",
    "track": "3",
}


def png(width=2, height=2):
    """Return a red picture."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def convert(tmp_path):
    """Give a function that transcodes samples or a file, and returns outcome, path and context."""
    count = 0

    def convert(source, rate=RATE, subtype="PCM_16", **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = source if isinstance(source, Path) else tones.write(tmp_path / f"in-{count}.wav", source, rate, subtype)
        ctx = RecordingContext(workdir)
        outcome = transcode.run({"input": as_input(path)}, TranscodeParams(**params), ctx)
        return outcome, outcome.files["transcoded"], ctx

    return convert


def integers(path, dtype="int32"):
    with blocks.reader(path, dtype=dtype) as source:
        return np.concatenate([block.copy() for _, block in source])


def choir(channels, seconds=1.0, rate=48_000):
    """Return a tone of its own in every channel, the fourth low enough for an LFE."""
    pitches = [300.0 + 211.0 * channel for channel in range(channels)]
    if channels > 3:
        pitches[3] = 60.0
    return np.stack([tones.sine(hz, -10.0, seconds, rate) for hz in pitches], 1).astype(np.float32)


def places(expected, found):
    """Return for each channel of `expected` the channel of `found` that is most like it."""
    frames = min(len(expected), len(found))
    table = np.abs(expected[:frames].T @ found[:frames])
    return table.argmax(axis=1).tolist()


def lag(expected, found):
    """Return by how many samples `found` is late."""
    size = len(expected) + len(found)
    spectrum = np.fft.rfft(expected, size).conj() * np.fft.rfft(found, size)
    spectrum /= np.maximum(np.abs(spectrum), 1e-9)
    place = int(np.argmax(np.fft.irfft(spectrum, size)))
    return place if place < size // 2 else place - size


# ── without loss ─────────────────────────────────────────────────────────────────────────────────

LOSSLESS = [("wav", "auto"), ("rf64", "auto"), ("aiff", "auto"), ("caf", "auto"), ("flac", "auto"), ("m4a", "alac")]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize(("container", "codec"), LOSSLESS)
def test_integers_come_back_bit_by_bit(convert, tmp_path, container, codec, subtype):
    bits = int(subtype[-2:])
    random = np.random.default_rng(3)
    samples = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (100_003, 2), np.int32) << (32 - bits)
    samples[:4] = [[-(2**31), 2**31 - 2 ** (32 - bits)], [0, 0], [1 << (32 - bits), -(1 << (32 - bits))], [0, -(2**31)]]
    path = tmp_path / "in.wav"
    with blocks.writer(path, sample_rate=RATE, channels=2, subtype=subtype) as sink:
        sink.write(samples)

    outcome, output, _ = convert(path, format=container, codec=codec)

    np.testing.assert_array_equal(integers(output), samples)
    assert outcome.data["bits"] == bits
    assert outcome.data["bitExact"] is True
    assert outcome.data["outputFrames"] == len(samples)
    with blocks.reader(output) as result:
        assert result.info.bits == bits


@pytest.mark.parametrize("container", ["wav", "rf64", "aiff", "caf"])
def test_floats_and_32_bits_come_back_bit_by_bit(convert, tmp_path, container):
    floats = 3 * np.random.default_rng(3).standard_normal((70_000, 1)).astype(np.float32)
    whole = np.random.default_rng(4).integers(-(2**31), 2**31, (70_000, 1), np.int64).astype(np.int32)
    path = tmp_path / "whole.wav"
    with blocks.writer(path, sample_rate=RATE, channels=1, subtype="PCM_32") as sink:
        sink.write(whole)

    outcome, output, _ = convert(floats, subtype="FLOAT", format=container)
    _, output_of_32, _ = convert(path, format=container)

    np.testing.assert_array_equal(decode(output), floats)
    np.testing.assert_array_equal(integers(output_of_32), whole)
    assert (outcome.data["bits"], outcome.data["bitExact"]) == ("float", True)


def test_flac_to_wav_and_back_is_the_same_file_of_samples(convert):
    source = tones.music(2.0)
    _, flac, _ = convert(source, format="flac")

    outcome, wav, _ = convert(flac, format="wav")

    assert outcome.data["bits"] == 16
    np.testing.assert_array_equal(integers(wav, "int16"), integers(flac, "int16"))


@pytest.mark.parametrize(
    ("subtype", "bits"), [("PCM_U8", 16), ("ULAW", 16), ("ALAW", 16), ("PCM_32", 24), ("DOUBLE", 24)]
)
def test_what_has_no_width_of_its_own_in_flac_gets_the_next(convert, tmp_path, subtype, bits):
    path = tmp_path / "in.wav"
    soundfile.write(path, tones.music(0.5), RATE, subtype)

    outcome, output, _ = convert(path, format="flac")

    assert outcome.data["bits"] == bits
    assert outcome.data["bitExact"] is (bits == 16)
    np.testing.assert_allclose(decode(output), decode(path), atol=2.0 ** -(bits - 1))


def test_a_double_is_written_as_a_float_and_not_called_exact(convert, tmp_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, tones.music(0.5).astype(np.float64) / 3, RATE, "DOUBLE")

    assert convert(path, format="wav")[0].data["bitExact"] is False


def test_fewer_bits_are_rounded_not_cut(convert):
    source = tones.music(1.0)

    outcome, output, _ = convert(source, subtype="PCM_24", format="wav", bits=16)

    assert np.abs(decode(output) - source).max() <= 2.0**-16 + 2.0**-23
    assert outcome.data["bitExact"] is False


def test_dither_repeats_and_never_touches_a_copy(convert, tmp_path):
    path = tones.write(tmp_path / "in.wav", tones.music(1.0), RATE, "PCM_24")

    first, second = (integers(convert(path, format="wav", bits=16, dither="tpdf")[1]) for _ in range(2))
    plain = integers(convert(path, format="wav", bits=16)[1])
    copy = integers(convert(path, format="wav", dither="tpdf")[1])

    np.testing.assert_array_equal(first, second)
    assert 0 < np.abs((first >> 16) - (plain >> 16)).max() <= 2
    np.testing.assert_array_equal(copy, integers(path))


def test_hot_floats_are_counted_where_they_are_clipped(convert):
    source = 2 * tones.music(1.0)

    outcome, _, _ = convert(source, subtype="FLOAT", format="flac")

    assert outcome.data["clippedSamples"] == int((np.abs(source) > 1).sum())


@pytest.mark.parametrize("container", ["wav", "aiff", "caf", "flac", "m4a"])
@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 37_800, 96_000, 192_000, 384_000])
def test_codecs_without_loss_take_every_rate(convert, container, rate):
    codec = "alac" if container == "m4a" else "auto"

    outcome, output, ctx = convert(tones.music(0.3, rate, 1), rate, format=container, codec=codec)

    with blocks.reader(output) as result:
        assert result.sample_rate == rate
    assert outcome.data["bitExact"] is True
    assert ctx.warnings == []


# ── with loss ────────────────────────────────────────────────────────────────────────────────────

LOSSY = ["mp3", "ogg", "opus", "m4a"]


@pytest.mark.parametrize("container", LOSSY)
def test_sound_with_loss_is_in_its_place_and_like_its_source(convert, container):
    source = tones.music(4.0, 48_000)

    outcome, output, ctx = convert(source, 48_000, format=container, quality=0.8)
    found = decode(output)

    assert ctx.warnings == []
    assert outcome.data["outputFrames"] == len(found)
    assert abs(len(found) - len(source)) <= 2_048
    assert lag(source[:, 0], found[:, 0]) == 0
    frames = min(len(found), len(source))
    assert np.corrcoef(source[:frames, 1], found[:frames, 1])[0, 1] > 0.95
    assert outcome.data["bitExact"] is False
    assert "bits" not in outcome.data


@pytest.mark.parametrize(
    ("container", "rate", "kbps"),
    [("mp3", 44_100, n) for n in (32, 64, 128, 192, 256, 320)]
    + [("mp3", 22_050, 64), ("mp3", 8_000, 32)]
    + [("opus", 48_000, n) for n in (16, 32, 96, 192, 510)]
    + [("m4a", 44_100, n) for n in (64, 128, 256)],
)
def test_the_bit_rate_is_the_one_that_was_asked_for(convert, container, rate, kbps):
    outcome, output, _ = convert(tones.music(8.0, rate), rate, format=container, bitrate_kbps=kbps)

    assert outcome.data["bitrateKbps"] == pytest.approx(output.stat().st_size * 8 / 8_000, abs=0.1)
    assert outcome.data["bitrateKbps"] == pytest.approx(kbps, rel=0.12)


@pytest.mark.parametrize("container", LOSSY)
def test_more_quality_is_a_larger_and_closer_file(convert, container):
    source = tones.music(3.0, 48_000)
    sizes, errors = [], []
    for quality in (0.0, 0.5, 1.0):
        _, output, _ = convert(source, 48_000, format=container, quality=quality)
        found = decode(output)[: len(source)]
        sizes.append(output.stat().st_size)
        errors.append(float(np.square(found - source[: len(found)]).mean()))

    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


CONVERTED = {
    "mp3": {4_000: 8_000, 11_025: 11_025, 37_800: 44_100, 88_200: 44_100, 96_000: 48_000, 384_000: 48_000},
    "opus": {8_000: 8_000, 11_025: 48_000, 16_000: 16_000, 44_100: 48_000, 192_000: 48_000},
    "ogg": {4_000: 4_000, 44_100: 44_100, 192_000: 192_000, 384_000: 192_000, 352_800: 176_400},
    "m4a": {4_000: 7_350, 44_100: 44_100, 37_800: 44_100, 176_400: 88_200, 192_000: 96_000},
    "flac": {70_001: 88_200, 384_000: 384_000},
}


@pytest.mark.parametrize(
    ("container", "rate", "written"), [(c, r, w) for c, table in CONVERTED.items() for r, w in table.items()]
)
def test_a_rate_that_the_codec_does_not_take_is_changed_and_told(convert, container, rate, written):
    source = tones.spread(tones.sine(500.0, -6.0, 1.0, rate), 1)

    outcome, output, ctx = convert(source, rate, format=container)

    with blocks.reader(output) as result:
        assert result.sample_rate == written == outcome.data["outputSampleRate"]
    assert ctx.codes() == ([] if rate == written else ["resampledForCodec"])
    assert abs(outcome.data["outputFrames"] - written) <= 2_048
    assert np.abs(decode(output)).max() == pytest.approx(0.5, abs=0.1)
    if rate != written:
        with pytest.raises(EncodeUnsupportedError):
            convert(source, rate, format=container, auto_convert=False)


def test_mp3_of_six_channels_becomes_stereo_without_clipping(convert):
    source = np.ones((48_000, 6), np.float32)
    source *= tones.sine(440.0, 0.0, 1.0, 48_000)[:, None].astype(np.float32)

    outcome, output, ctx = convert(source, 48_000, format="mp3", quality=1.0)

    assert ctx.codes() == ["downmixedForCodec"]
    assert ctx.warnings[0]["gainDb"] == pytest.approx(-7.66, abs=0.01)  # 1 / (1 + 2 · √½)
    assert outcome.data["outputChannels"] == 2
    assert np.abs(decode(output)).max() == pytest.approx(1.0, abs=0.03)
    with pytest.raises(EncodeUnsupportedError):
        convert(source, 48_000, format="mp3", auto_convert=False)


def test_a_downmix_knows_left_from_right_and_drops_the_lfe(convert):
    source = choir(6)

    _, output, _ = convert(source, 48_000, format="mp3", quality=1.0)
    left, right = np.abs(source.T @ decode(output)[: len(source)]).T / np.abs((source**2).sum(axis=0))

    gain = 1 / (1 + 2 * np.sqrt(0.5))
    side = gain * np.sqrt(0.5)
    np.testing.assert_allclose(left, [gain, 0, side, 0, side, 0], atol=0.01)
    np.testing.assert_allclose(right, [0, gain, side, 0, 0, side], atol=0.01)


@pytest.mark.parametrize("channels", range(3, 9))
@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "auto"),
        ("aiff", "auto"),
        ("caf", "auto"),
        ("flac", "auto"),
        ("ogg", "auto"),
        ("opus", "auto"),
        ("m4a", "aac"),
    ],
)
def test_channels_keep_their_places(convert, container, codec, channels):
    source = choir(channels)

    _, output, ctx = convert(source, 48_000, format=container, codec=codec, quality=0.9)

    assert ctx.warnings == []
    assert places(source, decode(output)) == list(range(channels))


@pytest.mark.parametrize(("channels", "written"), [(3, 3), (4, 2), (5, 5), (6, 6), (7, 2), (8, 2)])
def test_alac_takes_the_layouts_that_it_can_name(convert, channels, written):
    source = choir(channels, 0.5)

    outcome, output, ctx = convert(source, 48_000, format="m4a", codec="alac")

    assert decode(output).shape == (len(source), written)
    assert ctx.codes() == ([] if written == channels else ["downmixedForCodec"])
    assert outcome.data["bitExact"] is (written == channels)


@pytest.mark.parametrize("container", ["ogg", "opus", "m4a", "mp3"])
def test_another_program_hears_the_channels_in_the_same_places(convert, tmp_path, container):
    probe = pytest.importorskip("av")
    source = choir(2 if container == "mp3" else 6)

    _, output, _ = convert(source, 48_000, format=container, quality=0.9)
    with probe.open(str(output)) as file:
        resampler = probe.AudioResampler(format="flt", layout=file.streams.audio[0].layout, rate=48_000)
        frames = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
    found = np.concatenate([frame.to_ndarray().reshape(-1, source.shape[1]) for frame in frames])

    assert places(source, found) == list(range(source.shape[1]))


@pytest.mark.parametrize("frames", [1, 2, 100, 1_023, 1_024, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("container", ["wav", "flac", *LOSSY])
def test_every_length_is_written_and_verified(convert, container, frames):
    outcome, _, ctx = convert(tones.music(2.0, 48_000)[:frames], 48_000, format=container)

    assert abs(outcome.data["outputFrames"] - frames) <= (0 if container in ("wav", "flac") else 2_048)
    assert ctx.warnings == []


@pytest.mark.parametrize("container", ["wav", "flac", *LOSSY])
@pytest.mark.parametrize("block_frames", [4_096, 1_000_003])
def test_the_block_size_changes_nothing(convert, monkeypatch, container, block_frames):
    source = tones.music(4.0, 48_000)
    reader = blocks.reader
    usual = decode(convert(source, 48_000, format=container)[1])

    monkeypatch.setattr(blocks, "reader", lambda *args, **options: reader(*args, **options, block_frames=block_frames))
    other = decode(convert(source, 48_000, format=container)[1])

    np.testing.assert_allclose(other, usual, atol=1e-6)


def test_without_verify_the_result_says_nothing_that_was_not_looked_at(convert):
    data = convert(tones.music(1.0), format="ogg", verify=False)[0].data

    assert not {"outputFrames", "outputChannels", "bitExact"} & set(data)


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────

CONTAINERS = {
    "wav": "PCM_16",
    "aiff": "PCM_16",
    "caf": "PCM_16",
    "flac": "PCM_16",
    "mp3": None,
    "ogg": None,
    "opus": None,
    "m4a": "AAC",
}


def tagged(path, fields, cover=None):
    """Write a second of music with tags to `path`."""
    tags = Tags(fields=fields, cover=cover)
    with blocks.writer(path, sample_rate=48_000, channels=2, subtype=CONTAINERS[path.suffix[1:]], tags=tags) as sink:
        sink.write(tones.music(1.0, 48_000))
    return path


@pytest.mark.parametrize("before", sorted(CONTAINERS))
@pytest.mark.parametrize("after", ["wav", "rf64", "aiff", "caf", "flac", "mp3", "ogg", "opus", "m4a"])
def test_texts_are_carried_from_every_format_to_every_other(convert, tmp_path, before, after):
    fields = {name: ALL_FIELDS[name] for name in ("title", "artist", "comment")} if before == "aiff" else ALL_FIELDS

    _, output, ctx = convert(tagged(tmp_path / f"in.{before}", fields), format=after)

    kept = {name: text for name, text in fields.items() if after != "aiff" or name in ("title", "artist", "comment")}
    assert read_tags(output).fields == kept
    lost = [name for name in fields if name not in kept]
    assert [warning.get("tags") for warning in ctx.warnings if warning["code"] == "tagsDropped"] == [lost] * bool(lost)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("before", ["flac", "mp3", "m4a"])
@pytest.mark.parametrize("after", ["flac", "mp3", "m4a"])
def test_a_cover_is_carried_between_the_formats_that_have_one(convert, tmp_path, before, after, kind):
    cover = blocks.Cover(png() if kind == "image/png" else JPEG, kind)

    _, output, ctx = convert(tagged(tmp_path / f"in.{before}", ALL_FIELDS, cover), format=after)

    assert read_tags(output) == Tags(fields=ALL_FIELDS, cover=cover)
    assert ctx.warnings == []
    assert decode(output).shape[1] == 2


@pytest.mark.parametrize("after", ["wav", "ogg", "caf"])
def test_a_cover_that_does_not_fit_is_told(convert, tmp_path, after):
    _, _, ctx = convert(tagged(tmp_path / "in.flac", {}, blocks.Cover(png(), "image/png")), format=after)

    assert [(warning["code"], warning["tags"]) for warning in ctx.warnings] == [("tagsDropped", ["cover"])]


def test_a_cover_in_ogg_is_found(tmp_path):
    """It is a comment in base64 there (wiki.xiph.org/VorbisComment)."""
    av = pytest.importorskip("av")
    kind, data = b"image/png", png()
    block = struct.pack(">II", 3, len(kind)) + kind + struct.pack(">6I", 0, 2, 2, 24, 0, len(data)) + data
    path = tmp_path / "in.ogg"
    with av.open(str(tagged(tmp_path / "plain.ogg", {}))) as old, av.open(str(path), "w", format="ogg") as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        stream.metadata["METADATA_BLOCK_PICTURE"] = base64.b64encode(block).decode()
        for packet in old.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)

    assert read_tags(path).cover == blocks.Cover(data, "image/png")


def test_without_codecs_texts_are_carried_and_the_cover_is_told(convert, tmp_path, monkeypatch):
    path = tagged(tmp_path / "in.mp3", ALL_FIELDS, blocks.Cover(png(), "image/png"))
    monkeypatch.setitem(sys.modules, "av", None)

    _, output, ctx = convert(path, format="flac")

    assert read_tags(output).fields == ALL_FIELDS
    assert [(warning["code"], warning["tags"]) for warning in ctx.warnings] == [("tagsDropped", ["cover"])]


def test_tags_stay_behind_where_nobody_wants_them(convert, tmp_path):
    path = tagged(tmp_path / "in.flac", ALL_FIELDS, blocks.Cover(png(), "image/png"))

    _, output, ctx = convert(path, format="mp3", keep_tags=False)

    assert read_tags(output) == Tags()
    assert ctx.warnings == []


def test_damaged_tags_harm_nothing(convert, tmp_path):
    path = tagged(tmp_path / "in.mp3", ALL_FIELDS, blocks.Cover(png(), "image/png"))
    data = bytearray(path.read_bytes())
    data[20:60] = np.random.default_rng(1).bytes(40)
    path.write_bytes(data)

    _, output, _ = convert(path, format="flac")

    assert len(decode(output)) == 48_000


def test_texts_lose_what_no_tag_should_hold(tmp_path):
    path = tagged(tmp_path / "in.flac", {"title": "a\x1b[31m\x07b\u202e", "comment": "x" * 9_000})

    fields = read_tags(path).fields

    assert fields["title"] == "a[31mb"
    assert len(fields["comment"]) == 4_000


@pytest.mark.parametrize("data", [b"<script>", b"\x89PNG\r\n\x1a\n" + bytes(99)], ids=["text", "magic"])
def test_pictures_that_are_none_are_not_carried(convert, tmp_path, data):
    path = tagged(tmp_path / "in.flac", ALL_FIELDS, blocks.Cover(data, "image/png"))

    _, output, ctx = convert(path, format="m4a")

    assert read_tags(output) == Tags(fields=ALL_FIELDS)
    assert ctx.codes() == ["tagsDropped"]


# ── what is refused, and odd inputs ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"format": "flac", "codec": "aac"}, "/params/codec"),
        ({"format": "m4a", "codec": "flac"}, "/params/codec"),
        ({"format": "flac", "bits": 32}, "/params/bits"),
        ({"format": "m4a", "codec": "alac", "bits": "float"}, "/params/bits"),
        ({"format": "mp3", "bits": 16}, "/params/bits"),
        ({"format": "mp3", "bitrateKbps": 24}, "/params/bitrateKbps"),
        ({"format": "mp3", "bitrateKbps": 400}, "/params/bitrateKbps"),
        ({"format": "opus", "bitrateKbps": 5}, "/params/bitrateKbps"),
        ({"format": "flac", "bitrateKbps": 128}, "/params/bitrateKbps"),
        ({"format": "ogg", "bitrateKbps": 128}, "/params/bitrateKbps"),
        ({"format": "aac"}, "/params/format"),
        ({"quality": 1.5}, "/params/quality"),
        ({"bits": True}, "/params/bits"),
    ],
)
def test_what_does_not_go_together_is_refused(given, pointer):
    with pytest.raises(InvalidParamsError) as caught:
        wire.parse(TranscodeParams, given)

    assert [violation.pointer for violation in caught.value.violations] == [pointer]


def test_bits_may_be_a_number_or_a_word():
    assert wire.parse(TranscodeParams, {"bits": 16.0}).bits == 16
    assert wire.parse(TranscodeParams, wire.typed_pairs(TranscodeParams, ["bits=24"])).bits == 24
    assert wire.parse(TranscodeParams, {"format": "wav", "bits": "float"}).bits == "float"
    assert wire.schema(TranscodeParams)["properties"]["bits"]["type"] == ["string", "integer"]


def test_only_m4a_needs_codecs():
    needy = [
        kind
        for kind in wire.schema(TranscodeParams)["properties"]["format"]["enum"]
        if transcode.spec.needs(TranscodeParams(format=kind))
    ]

    assert needy == ["m4a"]


def test_without_codecs_m4a_is_refused_before_any_work(convert, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(UnsupportedFormatError, match=r"musproj\[codecs\]"):
        convert(tones.music(1.0), format="m4a")


def test_numbers_that_are_none_never_reach_a_codec(convert, file):
    samples = tones.music(1.0)
    samples[1_000, 0], samples[2_000, 1] = np.nan, np.inf
    path = file(
        tones.riff(tones.chunk(b"fmt ", tones.wav_format(tag=3, bits=32)), tones.chunk(b"data", samples.tobytes()))
    )

    for container in ("mp3", "opus", "flac", "wav"):
        outcome, output, ctx = convert(path, format=container)
        assert np.isfinite(decode(output)).all()
        assert outcome.data["nonFiniteSamples"] == 2
        assert outcome.data["bitExact"] is False
        assert "nonFinite" in ctx.codes()
    with pytest.raises(NonFiniteError):
        convert(path, on_nonfinite="reject")


def test_a_cut_file_is_told_once_or_refused(convert, tmp_path):
    path = tones.write(tmp_path / "whole.wav", tones.music(2.0), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    outcome, _, ctx = convert(path)

    assert outcome.data["truncated"] is True
    assert ctx.codes() == ["truncated"]
    with pytest.raises(AudioTruncatedError):
        convert(path, strict=True)


@pytest.mark.parametrize("container", ["flac", *LOSSY])
@pytest.mark.parametrize("name", ["silence", "square", "impulse", "noise"])
def test_signals_that_break_codecs_come_out_finite(convert, container, name):
    samples = {
        "silence": np.zeros((RATE, 2), np.float32),
        "square": tones.spread(np.sign(tones.sine(441.0, 0.0, 1.0, RATE)), 2),
        "impulse": tones.spread(np.eye(1, RATE, 20_000)[0], 2),
        "noise": np.random.default_rng(9).uniform(-1, 1, (RATE, 2)).astype(np.float32),
    }[name]

    _, output, _ = convert(samples, format=container)

    assert np.isfinite(decode(output)).all()


def test_speech_goes_around_and_stays_speech(convert):
    if not SPEECH.exists():
        pytest.skip("needs the recordings of alsa-utils")
    _, flac, _ = convert(SPEECH, format="flac")
    _, m4a, _ = convert(flac, format="m4a", codec="alac")
    _, wav, _ = convert(m4a, format="wav")

    np.testing.assert_array_equal(integers(wav), integers(SPEECH))


def test_nothing_but_the_result_is_left_in_the_work_folder(convert):
    _, _, ctx = convert(tones.music(1.0), format="rf64")

    assert [path.name for path in ctx.workdir.iterdir()] == ["transcoded.wav"]


def test_rf64_says_so_in_its_header(convert):
    assert convert(tones.music(0.5), format="rf64")[1].read_bytes()[:4] == b"RF64"


def test_the_result_holds_the_keys_of_its_page(convert, told_keys):
    data = {**convert(tones.music(1.0))[0].data, **convert(tones.music(1.0), format="ogg")[0].data}

    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("transcode") - sometimes == set(data)


def test_no_library_is_loaded_that_the_run_does_not_need(tmp_path):
    code = """
import sys
from pathlib import Path
from musproj.processors.transcode import transcode
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input
home = Path(sys.argv[1])
source = as_input(tones.write(home / "in.wav", tones.music(1.0), 44_100, "PCM_16"))
transcode.run({"input": source}, transcode.spec.params(), RecordingContext(home))
print([name for name in ("scipy", "soxr", "av") if name in sys.modules])
"""
    environment = {"PYTHONPATH": str(Path(blocks.__file__).parents[2])}
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"


JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAgAAAQABAAD/2wBDAAgEBAQEBAUFBQUFBQYGBgYGBgYGBgYGBgYHBwcICAgHBwcGBgcHCAgICAkJCQgICAgJCQoKCgwMCw"
    "sODg4RERT/xABKAAEAAAAAAAAAAAAAAAAAAAAAAQEAAAAAAAAAAAAAAAAAAAAAEAEAAAAAAAAAAAAAAAAAAAAAEQEAAAAAAAAAAAAAAAAAAAAA"
    "/8AAEQgACAAIAwESAAISAAMSAP/aAAwDAQACEQMRAD8AAA//2Q=="
)
"""Eight by eight grey pixels."""
