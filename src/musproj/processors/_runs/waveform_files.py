"""audiowaveform's data files, version 2, as its `doc/DataFormat.md` describes them."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from musproj.processors._runs.waveform_peaks import PeakFile, as_bytes

_VERSION = 2
_EIGHT_BITS = 1


def write_dat(path: Path, levels: Sequence[PeakFile], *, sample_rate: int, spp: int, bits: int, channels: int) -> None:
    """Write the levels one behind the other, each with its header; a reader that knows of one takes the first."""
    with path.open("wb") as target:
        for number, level in enumerate(levels):
            flags = _EIGHT_BITS if bits == 8 else 0
            header = (_VERSION, flags, sample_rate, spp << number, level.pairs, channels)
            target.write(struct.pack("<iIiiIi", *header))
            for pairs in level.chunks():
                target.write(as_bytes(pairs, bits))


def write_json(path: Path, levels: Sequence[PeakFile], *, sample_rate: int, spp: int, bits: int, channels: int) -> None:
    """Write the first level as audiowaveform does; further ones stand in a list `levels` beside it."""
    with path.open("w", encoding="ascii") as target:
        for number, level in enumerate(levels):
            head = {
                "version": _VERSION,
                "channels": channels,
                "sample_rate": sample_rate,
                "samples_per_pixel": spp << number,
                "bits": bits,
                "length": level.pairs,
            }
            target.write((',"levels":[' if number == 1 else ",") if number else "")
            target.write(json.dumps(head, separators=(",", ":"))[:-1] + ',"data":[')
            _write_values(target, level, bits)
            target.write("]" + ("}" if number else ""))
        target.write("]}" if len(levels) > 1 else "}")


def _write_values(target: TextIO, level: PeakFile, bits: int) -> None:
    separator = ""
    for pairs in level.chunks():
        values = memoryview(as_bytes(pairs, bits)).cast("b" if bits == 8 else "h").tolist()
        target.write(separator + ",".join(map(str, values)))
        separator = ","
