"""The parameters of `auphonic` (https://auphonic.com/api/info/algorithms.json), as far as they concern one file."""

from collections.abc import Mapping
from typing import Literal

import attrs

from musproj.processors._runs.fields import choice, flag, number, text_or_none

# Numbers that the service takes, from its own description.
AMOUNTS = (3, 6, 9, 12, 15, 18, 24, 30, 100)
TARGETS = (-13.0, -14.0, -15.0, -16.0, -18.0, -19.0, -20.0, -23.0, -24.0, -26.0, -27.0, -31.0)
PEAKS = (99.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -5.0, -6.0)
_STRENGTHS = tuple(range(0, 130, 10))
_FORMATS = ("wav-24bit", "wav", "flac")


@attrs.frozen(kw_only=True)
class AuphonicParams:
    """What a production does; the service has the last word on it."""

    preset: str | None = text_or_none(r"[a-zA-Z0-9]{22}", "A preset of the account; what is given here goes before it.")
    title: str | None = text_or_none(r".{1,200}", "Written into the result's tags.")
    format: Literal["wav-24bit", "wav", "flac"] = choice("wav-24bit", _FORMATS, "Container of the result.")
    leveler: bool = flag("Even out the level between speakers, music and speech.", default=True)
    leveler_strength: int = choice(100, _STRENGTHS, "Of the leveler, in percent.")
    compressor: str = choice("auto", ("auto", "off", "soft", "medium", "hard"), "Micro-dynamics.")
    music_gain: float = number(0.0, -6.0, 6.0, "dB", "Level of music against speech.")
    filtering: bool = flag("High-pass as the material needs it.", default=True)
    normalize: bool = flag("Bring it to the loudness target.", default=True)
    target_lufs: float = choice(-16.0, TARGETS, "Loudness target, in LUFS.")
    max_peak_dbtp: float = choice(99.0, PEAKS, "True-peak ceiling, in dBTP; 99: as goes with the target.")
    dual_mono: bool = flag("Measure one channel as if it were two.")
    loudness_method: str = choice("program", ("program", "dialog"), "What the target is measured on.")
    denoise: bool = flag("Reduce noise.")
    denoise_method: str = choice("static", ("static", "dynamic", "speech_isolation"), "How.")
    denoise_amount: int = choice(0, (-1, 0, *AMOUNTS), "In dB; 0: as the material needs it; -1: off.")
    dehum: int = choice(0, (0, 50, 60), "Base frequency of the hum, in Hz; 0: found.")
    dehum_amount: int = choice(0, (-1, 0, *AMOUNTS), "In dB; 0: as the material needs it; -1: off.")
    debreath: bool = flag("Reduce breaths.")
    cut_silences: bool = flag("Cut silences out; the result is shorter.")
    cut_fillers: bool = flag("Cut filler words out; the result is shorter.")
    cut_coughs: bool = flag("Cut coughs out; the result is shorter.")

    @property
    def changes_duration(self) -> bool:
        """Whether the result may have another length; a preset may cut too."""
        return self.cut_silences or self.cut_fillers or self.cut_coughs or self.preset is not None

    @property
    def request(self) -> Mapping[str, object]:
        """What a production is made with, in the service's words."""
        found: dict[str, object] = {"output_files": [{"format": self.format}]}
        if self.preset is not None:
            found["preset"] = self.preset
            algorithms = self._given
        else:
            algorithms = self.algorithms
        if algorithms:
            found["algorithms"] = algorithms
        if self.title is not None:
            found["metadata"] = {"title": self.title}
        return found

    @property
    def _given(self) -> dict[str, object]:
        """What differs from its default: the rest is the preset's."""
        standard = AuphonicParams().algorithms
        return {name: value for name, value in self.algorithms.items() if value != standard[name]}

    @property
    def algorithms(self) -> dict[str, object]:
        """What is done to the sound, in the service's words."""
        return {
            "leveler": self.leveler,
            "levelerstrength": self.leveler_strength,
            "compressor": self.compressor,
            "musicgain": self.music_gain,
            "filtering": self.filtering,
            "normloudness": self.normalize,
            "loudnesstarget": int(self.target_lufs),
            "maxpeak": self.max_peak_dbtp,
            "dualmono": self.dual_mono,
            "loudnessmethod": self.loudness_method,
            "denoise": self.denoise,
            "denoisemethod": self.denoise_method,
            "denoiseamount": self.denoise_amount,
            "dehum": self.dehum,
            "dehumamount": self.dehum_amount,
            "debreath": self.debreath,
            "silence_cutter": self.cut_silences,
            "filler_cutter": self.cut_fillers,
            "cough_cutter": self.cut_coughs,
        }
