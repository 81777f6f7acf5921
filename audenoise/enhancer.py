"""Audio in, audio out: a published enhancer applied to signals of any rate, length and channel count.

A signal is brought to the model's rate and goes through in pieces that overlap by as much as one frame can
see to either side, so that the pieces make what the whole would, in memory that does not depend on its
length. NumPy and ONNX Runtime only.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.audio import StreamResampler, resampled_length
from audenoise.conditioning import CONTEXT_S, conditioning_features
from audenoise.errors import ModelError, SignalError
from audenoise.onnx_session import first_line, open_session
from audenoise.presets import GRAPH_FILE, METADATA_FILE, AppliedModel, Preset, load_preset
from audenoise.spectral import frame_count, istft, make_window, stft
from audenoise.stream import (
    check_format,
    check_layout,
    check_signal,
    headroom,
    is_number,
    peak_of,
    samples_of,
)

DEFAULT_ENHANCER = "enhancer"
PIECE_S = 5.0
"""Audio per run of the network: longer pieces repeat less of their surroundings and take more memory."""
QUIET_DB, SPOKEN_DB = -75.0, -60.0
ROOM_DB = 30.0
"""What is added to a frame may be this much louder than the frame from `SPOKEN_DB` on, as an *s* on the
telephone asks for, and no louder than it up to `QUIET_DB`: no hiss in pauses."""
HUSH_DB = -80.0
"""Up to here anything may be added: the noise of a quiet room, which a recording's upper band has too."""
_NEARBY_FRAMES = 4


def frame_features(audio: AudioVector, sample_rate: int, *, hop_length: int, win_length: int) -> np.ndarray:
    """Conditioning of every frame of a spectrogram, (frames, 4).

    The first ``win_length / 2 / hop_length - 1`` frames are centred before the first sample, which is why
    silence is put there.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    hop_length, win_length : int
        Of the spectrogram; the window is an even number of hops.
    """
    lead = np.zeros((win_length // 2 // hop_length - 1) * hop_length, np.float32)
    return conditioning_features(
        np.concatenate([lead, audio]),
        sample_rate,
        hop_length=hop_length,
        n_frames=frame_count(audio.size, hop_length=hop_length, win_length=win_length),
    )


def restrained(heard: np.ndarray, enhanced: np.ndarray, power_scale: float) -> np.ndarray:
    """Turn down what was added to frames in which there is little to add to.

    A network that learnt from recordings gives a recording's noise floor to everything, to digital silence
    with dither on it too.

    Parameters
    ----------
    heard, enhanced : ndarray, complex, shape (channels, frames, bins)
        Input and output of the network.
    power_scale : float
        Times the sum of a frame's |X|², it is the mean square of the signal.
    """
    from scipy.ndimage import maximum_filter1d

    added = enhanced - heard
    level, change = (
        10.0 * np.log10(power_scale * np.square(np.abs(part)).sum(axis=2) + 1e-20) for part in (heard, added)
    )
    level = maximum_filter1d(level, 2 * _NEARBY_FRAMES + 1, axis=1)
    most = np.maximum(level + np.interp(level, [QUIET_DB, SPOKEN_DB], [0.0, ROOM_DB]), HUSH_DB)
    gain = 10.0 ** (np.minimum(0.0, most - change) / 20.0)
    return heard + gain[..., None].astype(np.float32) * added


class Enhancer(AppliedModel):
    """A published enhancer.

    Parameters
    ----------
    preset : Preset
        As `load_preset` returns it.
    threads : int, optional
        How many pieces of a signal are worked on at a time. Default: 2, or 1 on a machine with one core.

    Attributes
    ----------
    preset : Preset
    threads : int
    sample_rate : int
        In Hz, of what comes out unless another rate is asked for.

    Raises
    ------
    ModelError
        If the model is no enhancer or its graph is damaged.
    """

    def __init__(self, preset: Preset, *, threads: int | None = None) -> None:
        super().__init__(preset, threads=threads)
        self.sample_rate = preset.sample_rate
        self._where = f"{preset.folder}: {GRAPH_FILE}"
        if not preset.is_enhancer:
            raise ModelError(f"{preset.folder}: {METADATA_FILE}: is no enhancer's; use `audenoise predict`")
        sizes = preset.stft
        if sizes.win_length % (2 * sizes.hop_length):
            raise ModelError(
                f"{preset.folder}: {METADATA_FILE}: stft.hop_length must go into half the window"
            )
        # Pieces do not wait for each other, parts of an operator would.
        self._session = open_session(preset.read_file(GRAPH_FILE), self._where, threads=1)
        names = {node.name for node in self._session.get_inputs()}
        bins = [node.shape[2] for node in self._session.get_inputs() if node.name == "spectrum"]
        outputs = [node.name for node in self._session.get_outputs()]
        if (
            bins != [sizes.n_fft // 2 + 1]
            or not names <= {"spectrum", "conditioning"}
            or outputs != ["enhanced"]
        ):
            raise ModelError(f"{self._where} is no enhancer's, or doesn't fit stft.n_fft in {METADATA_FILE}")
        self._conditioned = "conditioning" in names
        self._analysis = {
            "n_fft": sizes.n_fft,
            "hop_length": sizes.hop_length,
            "win_length": sizes.win_length,
            "window": sizes.window,
        }
        window = make_window(sizes.window, sizes.win_length)
        self._window_sum = np.float32(window.sum())
        self._power_scale = float(2.0 * window.sum() ** 2 / (sizes.n_fft * np.square(window).sum()))
        reach = preset.context_left * sizes.hop_length + sizes.win_length
        reach += max(sizes.win_length, round(CONTEXT_S * preset.sample_rate))
        self.context_samples = -(-reach // sizes.hop_length) * sizes.hop_length

    @classmethod
    def from_preset(
        cls, name_or_path: str | os.PathLike[str] | None = None, *, threads: int | None = None
    ) -> Self:
        """Load a model by name or from a folder. Default: the bundled enhancer.

        Raises
        ------
        ModelError
            If the model is missing, damaged or no enhancer.
        """
        return cls(load_preset(DEFAULT_ENHANCER if name_or_path is None else name_or_path), threads=threads)

    def enhance(
        self, audio: np.ndarray, sample_rate: int, *, amount: float = 1.0, output_rate: int | None = None
    ) -> np.ndarray:
        """Enhance a whole signal.

        Parameters
        ----------
        audio : np.ndarray
            (samples,) or (samples, channels), at least one sample. Floating point with full scale 1.0, or
            int16 or int32. What is beyond full scale is scaled to it on the way to the network, and back.
            Channels are enhanced independently.
        sample_rate : int
            In Hz.
        amount : float, optional
            From 0 (the signal as it is, resampled) to 1.
        output_rate : int, optional
            In Hz. Default: the model's own, as a signal of a low rate has no room for what is given back.

        Returns
        -------
        np.ndarray
            float32 with the axes of `audio`, without delay; samples · output_rate / sample_rate of them,
            rounded. Not clipped.

        Raises
        ------
        SignalError
            If the audio is empty, NaN, infinite or of another type, or a parameter is out of range.

        Examples
        --------
        >>> enhancer = Enhancer.from_preset("models/mine")  # doctest: +SKIP
        >>> studio = enhancer.enhance(telephone, 8000)  # doctest: +SKIP
        """
        check_signal(audio)
        columns = audio[:, None] if audio.ndim == 1 else audio
        stream = self.stream(
            sample_rate, columns.shape[1], amount=amount, output_rate=output_rate, peak=peak_of(columns)
        )
        step = max(1, round(self.threads * PIECE_S * sample_rate))
        parts = [stream.process(columns[start : start + step]) for start in range(0, len(columns), step)]
        result = np.concatenate([*parts, stream.flush()])
        return result[:, 0] if audio.ndim == 1 else result

    def stream(
        self,
        sample_rate: int,
        channels: int = 1,
        *,
        amount: float = 1.0,
        output_rate: int | None = None,
        piece_s: float = PIECE_S,
        peak: float = 1.0,
    ) -> "EnhancerStream":
        """Start a stream, for audio that comes in blocks. Streams of one enhancer are independent.

        Parameters
        ----------
        sample_rate : int
            In Hz.
        channels : int, optional
        amount, output_rate : optional
            As for `enhance`.
        piece_s : float, optional
            Seconds of audio per run of the network.
        peak : float, optional
            As for `Denoiser.stream`.

        Raises
        ------
        SignalError
            If a parameter is out of range.
        """
        if output_rate is None:
            output_rate = self.sample_rate
        check_format(channels, sample_rate=sample_rate, output_rate=output_rate)
        if not (is_number(amount) and 0.0 <= amount <= 1.0):
            raise SignalError(f"amount must be a number from 0 to 1. Received: {amount!r}")
        if not (is_number(piece_s) and 0.0 < piece_s <= 60.0):
            raise SignalError(f"piece_s must be above 0 and at most 60 seconds. Received: {piece_s!r}")
        return EnhancerStream(
            self,
            (int(sample_rate), int(output_rate)),
            channels=int(channels),
            amount=amount,
            piece_s=piece_s,
            peak=peak,
        )

    def run(self, audio: np.ndarray) -> np.ndarray:
        """Enhance (samples, channels) float32 at the model's rate in one piece.

        Raises
        ------
        ModelError
            If the graph fails.
        """
        spectrum = stft(np.ascontiguousarray(audio.T), **self._analysis).swapaxes(1, 2)
        scaled = np.ascontiguousarray(spectrum / self._window_sum, np.complex64)
        shown = {"spectrum": scaled.view(np.float32).reshape(*scaled.shape, 2)}
        if self._conditioned:
            shown["conditioning"] = np.stack([self.told(np.ascontiguousarray(each)) for each in audio.T])
        try:
            enhanced = np.ascontiguousarray(self._session.run(["enhanced"], shown)[0])
        except Exception as error:
            raise ModelError(f"{self._where} failed to run ({first_line(error)})") from error
        result = restrained(scaled, enhanced.view(np.complex64)[..., 0], self._power_scale) * self._window_sum
        result[~scaled.any(axis=2)] = 0.0  # silence stays silent
        return istft(result.swapaxes(1, 2), n_samples=len(audio), **self._analysis).T

    def told(self, audio: AudioVector) -> np.ndarray:
        """What the network is told about one channel beside its spectrum, (frames, 4); see `conditioning`."""
        sizes = {name: self._analysis[name] for name in ("hop_length", "win_length")}
        return frame_features(audio, self.sample_rate, **sizes)

    def run_all(self, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`run` of each, as many at a time as there are threads."""
        if self.threads == 1 or len(pieces) < 2:
            return [self.run(piece) for piece in pieces]
        with ThreadPoolExecutor(min(self.threads, len(pieces)), "audenoise-enhancer") as pool:
            return list(pool.map(self.run, pieces))


class EnhancerStream:
    """State of one signal on its way through an enhancer; made by `Enhancer.stream`."""

    def __init__(
        self,
        enhancer: Enhancer,
        rates: tuple[int, int],
        *,
        channels: int,
        amount: float,
        piece_s: float,
        peak: float,
    ) -> None:
        self.sample_rate, self.output_rate = rates
        self.channels, self._enhancer, self._amount = channels, enhancer, np.float32(amount)
        hop = enhancer.preset.stft.hop_length
        self._piece = max(1, round(piece_s * enhancer.sample_rate / hop)) * hop
        self._scale = headroom(peak)
        self.reset()

    def reset(self) -> None:
        """Forget what came before; the stream is as new."""
        self._up = StreamResampler(self.sample_rate, self._enhancer.sample_rate, self.channels)
        self._down = StreamResampler(self._enhancer.sample_rate, self.output_rate, self.channels)
        self._audio = np.zeros((0, self.channels), np.float32)
        self._before = 0  # samples of `_audio` that have come out and are kept as surroundings
        self._received = self._sent = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take the next (samples, channels) and return what is ready, as many channels.

        Raises
        ------
        SignalError
            If the block doesn't fit the stream or holds NaN or infinite samples.
        """
        check_layout(block)
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise SignalError(f"this stream takes (samples, {self.channels}). Received: shape {block.shape}")
        samples = samples_of(block, self._scale, self._received)
        self._received += len(samples)
        self._audio = np.concatenate([self._audio, self._up.process(samples)])
        ready = self._down.process(self._pieces(self._enhancer.context_samples))
        self._sent += len(ready)
        return ready if self._scale == 1.0 else ready / self._scale

    def flush(self) -> np.ndarray:
        """Return the rest. The stream is as new then."""
        missing = resampled_length(self._received, self.sample_rate, self.output_rate) - self._sent
        self._audio = np.concatenate([self._audio, self._up.flush()])
        rest = np.concatenate([self._down.process(self._pieces(0)), self._down.flush()])[:missing]
        # Two conversions may round to one sample less than one does.
        result = np.concatenate([rest, np.zeros((missing - len(rest), self.channels), np.float32)])
        self.reset()
        return result if self._scale == 1.0 else result / self._scale

    def _pieces(self, ahead: int) -> np.ndarray:
        """Enhance what has `ahead` samples behind it; 0 for all that is left."""
        context = self._enhancer.context_samples
        shown: list[np.ndarray] = []
        inside: list[slice] = []
        while (waiting := len(self._audio) - self._before - ahead) > 0:
            if ahead and waiting < self._piece:
                break
            end = self._before + min(waiting, self._piece)
            shown.append(self._audio[: end + context])
            inside.append(slice(self._before, end))
            kept = min(end, context)
            self._audio, self._before = self._audio[end - kept :], kept
        done = [piece[part] for piece, part in zip(shown, inside, strict=True)]
        if self._amount > 0:  # with nothing to give back, the samples are those of the input to the last bit
            for i, (enhanced, part) in enumerate(zip(self._enhancer.run_all(shown), inside, strict=True)):
                dry, wet = done[i], enhanced[part]
                done[i] = wet if self._amount == 1 else dry + self._amount * (wet - dry)
        return np.concatenate(done) if done else np.zeros((0, self.channels), np.float32)
