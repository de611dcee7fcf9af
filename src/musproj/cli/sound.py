"""The recording that `musproj demo` makes for itself; the standard library alone."""

import math
import wave
from array import array
from pathlib import Path

SAMPLE_RATE = 44_100
"""Hz."""
NOTES = (220.0, 261.63, 329.63, 440.0, 329.63, 261.63)
"""A minor, up and down, in Hz (equal temperament, A4 = 440)."""
NOTE_SECONDS = 1.0
LEVEL = 0.16
"""About -24 LUFS together with the decay below: quiet enough that there is something to enhance."""
DECAY = 2.5
"""Per second, natural: a plucked string."""
RUMBLE_HZ, RUMBLE = 31.0, 0.05
"""What the high-pass takes away."""
FULL_SCALE = 32_767


def make_recording(path: Path) -> None:
    """Write six plucked notes over a rumble: 6 s, 16 bit, stereo, 44.1 kHz."""
    samples = array("h")
    count = round(NOTE_SECONDS * SAMPLE_RATE)
    for number, pitch in enumerate(NOTES):
        for frame in range(count):
            time = frame / SAMPLE_RATE
            low = RUMBLE * math.sin(math.tau * RUMBLE_HZ * (number * NOTE_SECONDS + time))
            note = _pluck(pitch, time)
            samples.append(round(FULL_SCALE * (low + note)))
            samples.append(round(FULL_SCALE * (low + 0.8 * note)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())


def _pluck(pitch: float, time: float) -> float:
    fade_in = min(1.0, time / 0.005)
    phase = math.tau * pitch * time
    tone = math.sin(phase) + 0.4 * math.sin(2 * phase) + 0.2 * math.sin(3 * phase)
    return LEVEL * fade_in * math.exp(-DECAY * time) * tone
