"""Vocals by a model of the user's own, run by ONNX Runtime.

A model takes audio and gives audio: one input, float32 (1, channels, samples), and one output, (1, channels, samples) of
vocals or (1, stems, channels, samples). Its metadata may say `sample_rate` (44100 where it does not) and `stems`, names
with commas between, of which `vocals` is taken; four stems without names are those of Demucs.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import attrs
import numpy as np

from musproj.errors import MissingExtraError, ModelInvalidError
from musproj.ports.processor import ModelFile
from musproj.processors._formats.decoder import Planar

DEFAULT_RATE = 44_100
VOCALS = "vocals"

_DEMUCS = ("drums", "bass", "other", VOCALS)
_POLL_SECONDS = 0.2
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Others may be there that send audio elsewhere (Azure), or that are not the same from run to run."""
_RANKS = (3, 4)


@attrs.frozen(kw_only=True)
class _Shape:
    channels: int
    """1 or 2."""
    samples: int | None
    """As many as must be given; None: any number."""
    rate: int
    stem: int | None
    """Which of the stems; None: there is but one."""


class VocalModel:
    """A model file, loaded."""

    def __init__(self, file: ModelFile, check: Callable[[], None]) -> None:
        """Load `file`; `check` is called several times a second while it runs, and may raise.

        Raises:
            MissingExtraError: the extra `onnx` is needed.
            ModelInvalidError: it cannot be loaded, or takes and gives something else.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as exc:
            raise MissingExtraError("onnxruntime", "onnx") from exc
        self._runtime: Any = onnxruntime
        options: Any = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # parallelism comes from jobs
        options.log_severity_level = 3
        providers = [name for name in _PROVIDERS if name in self._runtime.get_available_providers()]
        try:
            self._session: Any = self._runtime.InferenceSession(str(file.path), options, providers=providers)
        except Exception as exc:
            raise _invalid(file, f"it cannot be loaded: {_first_line(exc)}") from exc
        self._file = file
        self._check = check
        self.shape = _shape(file, self._session)

    def __call__(self, samples: Planar) -> Planar:
        """Return the vocals in (channels, frames), at the model's rate.

        Raises:
            ModelInvalidError: it fails, or gives something else than it says.
        """
        frames = samples.shape[1]
        wanted = self.shape.samples or frames
        given = np.pad(samples, ((0, 0), (0, wanted - frames)))[None]
        (output,) = self._run({self._session.get_inputs()[0].name: np.ascontiguousarray(given, np.float32)})
        found = np.asarray(output, np.float32)
        if self.shape.stem is not None and found.ndim == max(_RANKS) and found.shape[1] > self.shape.stem:
            found = found[:, self.shape.stem]
        if found.shape != (1, self.shape.channels, wanted):
            raise _invalid(self._file, f"it gave an array of {found.shape}, not of {(1, self.shape.channels, wanted)}")
        if not np.isfinite(found).all():
            raise _invalid(self._file, "it gave numbers that are not finite")
        vocals: Planar = found[0, :, :frames]
        return vocals

    def _run(self, given: Mapping[str, Any]) -> Sequence[Any]:
        """Run the model in a thread, so that a cancellation need not wait for its end."""
        options: Any = self._runtime.RunOptions()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self._session.run, None, given, options)
            try:
                while True:
                    try:
                        return list(future.result(_POLL_SECONDS))
                    except FutureTimeoutError:
                        self._check()
                    except MemoryError:
                        raise
                    except Exception as exc:  # the runtime has a class for each kind, without a common one
                        raise _invalid(self._file, f"it fails: {_first_line(exc)}") from exc
            finally:
                options.terminate = True


def _shape(file: ModelFile, session: Any) -> _Shape:
    """Return what the model takes.

    Raises:
        ModelInvalidError: something that is no audio.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise _invalid(file, f"it has {len(inputs)} inputs and {len(outputs)} outputs, not one of each")
    taken, given = list(inputs[0].shape), list(outputs[0].shape)
    if inputs[0].type != "tensor(float)" or len(taken) != min(_RANKS) or len(given) not in _RANKS:
        raise _invalid(file, f"it takes {inputs[0].type} {taken} and gives {given}, not audio (1, channels, samples)")
    channels = taken[1] if isinstance(taken[1], int) else 2
    if channels not in (1, 2) or (isinstance(taken[0], int) and taken[0] != 1):
        raise _invalid(file, f"it takes {taken}; one file of one or two channels is wanted")
    facts: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    return _Shape(
        channels=channels,
        samples=taken[2] if isinstance(taken[2], int) else None,
        rate=_rate(file, facts),
        stem=_stem(file, facts, given) if len(given) == max(_RANKS) else None,
    )


def _rate(file: ModelFile, facts: Mapping[str, str]) -> int:
    text = facts.get("sample_rate", str(DEFAULT_RATE))
    if not text.isdecimal() or not 4_000 <= int(text) <= 384_000:
        raise _invalid(file, f"its sample_rate is {text!r}")
    return int(text)


def _stem(file: ModelFile, facts: Mapping[str, str], given: Sequence[object]) -> int:
    names = tuple(name.strip() for name in facts["stems"].split(",")) if "stems" in facts else ()
    if not names and given[1] == len(_DEMUCS):
        names = _DEMUCS
    if VOCALS not in names:
        raise _invalid(file, "its metadata `stems` does not tell which of its stems are the vocals")
    return names.index(VOCALS)


def _invalid(file: ModelFile, reason: str) -> ModelInvalidError:
    return ModelInvalidError(f"The model {file.name!r} cannot be used: {reason}.", model=file.name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
