"""One signal on its way through a denoiser: the only place where audio meets the network.

The network was trained at one rate, and its window is kept fixed in milliseconds at every other: at 48 kHz
the window has three times the samples, so its first bins mean the same frequencies as the network's and,
divided by the sum of the window, have the same values. Bins above the network's band follow its top band.
Where the window does not come out in whole samples, one that is up to 0.3 % shorter or longer does (1408
samples at 44.1 kHz): a twentieth of a semitone, which no network notices. Rates where that fails too are
resampled.
"""

import math
import numbers
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from audenoise.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, StreamResampler
from audenoise.errors import SignalError
from audenoise.network import Network, Values
from audenoise.phase import PhaseStream
from audenoise.presets import Preset, StftSettings
from audenoise.spectral import StreamingIstft, StreamingStft, make_window

BLOCK_SECONDS = 3.0  # of audio per run of the network where latency doesn't matter; more leaves the cache
_RECURRENT_BLOCK_SECONDS = 1.5  # as fast where nothing is run twice for its context, and parts better
_CONTEXTS_PER_BLOCK = 6  # what is run for its surroundings only is a seventh then
_WORK_SECONDS = 12.0  # of audio at a time for a whole recording, of one or two channels
_HIGHEST_PEAK = 1e30
_AHEAD = 1  # blocks that may wait between a network's halves, and of which a file's samples come later

_INTEGER_SCALES = {np.dtype(np.int16): 2.0**-15, np.dtype(np.int32): 2.0**-31}
_RATE_FACTORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 6, 12, 24, 48)
_NEAR = 0.003
_PHASE_SECONDS = 2.0  # of audio whose phase is found together, where the model wants that
_TOP_BAND_START = 7 / 8  # of the network's band; from here up it decides about what lies above: 7 to 8 kHz
_TOP_BAND_SMOOTHING_S = 0.008  # longer, noise is heard after each word above the band and not in it
# Samples that are far too large overflow on their way; what comes out is checked, one error is enough.
_QUIET = np.errstate(over="ignore", invalid="ignore")


def work_samples(sample_rate: int, channels: int) -> int:
    """How many samples to give a stream at a time where latency doesn't matter, per channel.

    Enough that two threads have work, and no more in memory than a few seconds of many channels.
    """
    return max(1, round(max(BLOCK_SECONDS, _WORK_SECONDS * 2 / max(2, channels)) * sample_rate))


def file_block_frames(preset: Preset, *, has_states: bool) -> int:
    """Frames of a run of the network where latency doesn't matter, as few as are fast."""
    seconds = _RECURRENT_BLOCK_SECONDS if has_states else BLOCK_SECONDS
    context = preset.context_left + preset.context_right
    frames = max(seconds * preset.sample_rate / preset.stft.hop_length, _CONTEXTS_PER_BLOCK * context)
    return _whole_multiples(frames, preset.context_multiple)


def _whole_multiples(frames: float, multiple: int) -> int:
    return math.ceil(frames / multiple) * multiple


def headroom(peak: float) -> np.float32:
    """The factor that brings audio beyond full scale back to it: networks know no levels far above 1.0.

    1 for numbers that no recording has, and for NaN, which are refused further on.

    Raises
    ------
    SignalError
        If the peak is no number, or negative.
    """
    if not is_number(peak) or peak < 0.0:
        raise SignalError(f"peak must be a number of at least 0. Received: {peak!r}")
    return np.float32(1.0 / peak if 1.0 < peak < _HIGHEST_PEAK else 1.0)


def peak_of(audio: np.ndarray) -> float:
    """The largest magnitude of an array of at least one sample; integers are within full scale."""
    return float(max(audio.max(), -audio.min())) if np.issubdtype(audio.dtype, np.floating) else 1.0


def samples_of(block: np.ndarray, scale: np.float32, n_before: int) -> np.ndarray:
    """Samples of any type that `check_layout` lets pass as float32, times a scale.

    Parameters
    ----------
    block : np.ndarray
        (samples, channels).
    scale : np.float32
    n_before : int
        Samples that came before, for the message.

    Raises
    ------
    SignalError
        If one is NaN or infinite.
    """
    factor = scale * np.float32(_INTEGER_SCALES.get(block.dtype.newbyteorder("="), 1.0))
    samples = np.asarray(block, np.float32)
    if factor != 1.0:
        samples = samples * factor
    if not np.isfinite(samples).all():
        row = int(np.isfinite(samples).all(axis=1).argmin())
        raise SignalError(f"audio must be finite; sample {n_before + row} is NaN or infinite")
    return samples


class _Block(NamedTuple):
    """Frames on their way through the network.

    `noisy` as analysed, (channels, frames, bins) at the stream's rate; `shown` what the network sees, with
    `n_past` frames of context first and `n_ahead` last; `begun` what its first half made of it, if it works
    in halves.
    """

    noisy: np.ndarray
    shown: np.ndarray
    n_past: int
    n_ahead: int
    begun: list[Values] | None


class DenoiserStream:
    """State of one signal on its way through a denoiser; made by `Denoiser.stream`."""

    def __init__(
        self,
        network: Network,
        sample_rate: int,
        channels: int,
        *,
        weight: float,
        block_s: float | None,
        peak: float,
    ) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self._network, self._weight, self._scale = network, np.float32(weight), headroom(peak)
        preset = network.preset
        self._rate, scaled = processing_settings(sample_rate, preset.sample_rate, preset.stft)
        n_fft, hop_length, win_length = scaled.n_fft, scaled.hop_length, scaled.win_length
        self._stft = {
            "n_fft": n_fft,
            "hop_length": hop_length,
            "win_length": win_length,
            "window": scaled.window,
            "batch_shape": (channels,),
        }
        self._bins = n_fft // 2 + 1
        self._shared_bins = min(self._bins, network.bins)
        self._top_band = slice(round(_TOP_BAND_START * (network.bins - 1)), network.bins)
        self._smoothing = float(np.exp(-hop_length / self._rate / _TOP_BAND_SMOOTHING_S))
        self._window_sum = np.float32(make_window(scaled.window, win_length).sum())
        frames_per_s = self._rate / hop_length
        fastest = file_block_frames(preset, has_states=network.has_states)
        self._for_files = block_s is None
        least = fastest if block_s is None else block_s * frames_per_s
        self._block_frames = _whole_multiples(max(1.0, least), preset.context_multiple)
        self._full_block = max(self._block_frames, fastest)
        self._announced = False
        self._second: ThreadPoolExecutor | None = None
        self._pending: deque[Future[np.ndarray]] = deque()
        self._flat = False
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Samples by which the output of `process` trails its input at most, the resampler left out."""
        ahead = self._network.preset.context_right + self._block_frames - 1
        if self._for_files:
            ahead += _AHEAD * self._full_block
        if self._phase is not None:
            ahead += self._phase.delay_frames
        return -(
            -(self._stft["win_length"] + ahead * self._stft["hop_length"]) * self.sample_rate // self._rate
        )

    @property
    def hop_samples(self) -> int | None:
        """Samples from one frame to the next, at which output comes; None where the signal is resampled."""
        return self._stft["hop_length"] if self._rate == self.sample_rate else None

    def expect(self, n_samples: int | None) -> None:
        """Say how many samples per channel will come, if known: what pays for long signals pays at once."""
        if n_samples is not None:
            self._network.expect(n_samples * self.channels / self.sample_rate)
            self._announced = True

    def reset(self) -> None:
        """Forget all that was received, as if the stream were new."""
        if self._second is not None:
            self._second.shutdown(cancel_futures=True)
            self._second = None
        self._pending.clear()
        self._analysis, self._synthesis = StreamingStft(**self._stft), StreamingIstft(**self._stft)
        self._up = self._down = None
        if self._rate != self.sample_rate:
            self._up = StreamResampler(self.sample_rate, self._rate, self.channels)
            self._down = StreamResampler(self._rate, self.sample_rate, self.channels)
        self._phase = self._new_phase()
        self._states = self._network.initial_states(self.channels)
        # The last context_left frames that went through the network, then those that wait for it.
        self._frames = np.zeros((self.channels, 0, self._bins), np.complex64)
        self._n_past = 0
        self._top_energies = np.zeros((2, self.channels))
        self._waiting = np.zeros((0, self.channels), np.float32)
        self._n_received = self._n_processed = 0

    def _new_phase(self) -> PhaseStream | None:
        if self._network.preset.phase != "griffin_lim":
            return None
        stft = self._stft
        return PhaseStream(
            n_fft=stft["n_fft"],
            hop_length=stft["hop_length"],
            win_length=stft["win_length"],
            window=stft["window"],
            channels=self.channels,
            block_frames=math.ceil(_PHASE_SECONDS * self._rate / stft["hop_length"]),
        )

    @_QUIET
    def process(self, block: np.ndarray) -> np.ndarray:
        """Take the next block and return the samples that are ready.

        Parameters
        ----------
        block : np.ndarray
            (samples, channels), or (samples,) for one channel; any number of samples, also none. Types as for
            `Denoiser.denoise`.

        Returns
        -------
        np.ndarray
            float32, as many axes as `block`. All that was returned so far, in a row, is the beginning of what
            `Denoiser.denoise` makes of the signal (of one beyond full scale, with its `peak` given to the
            stream); it is shorter than what was received, `flush` makes up for it.

        Raises
        ------
        SignalError
            If the block doesn't fit the stream or holds NaN or infinite samples: the stream stays as it was.
            If samples are too large for the network: the stream is as new then.
        """
        check_layout(block)
        columns = block[:, None] if block.ndim == 1 else block
        if columns.shape[1] != self.channels:
            raise SignalError(f"this stream takes (samples, {self.channels}). Received: shape {block.shape}")
        samples = samples_of(columns, self._scale, self._n_received)
        self._flat = block.ndim == 1
        self._n_received += len(samples)
        if self._weight < 1.0:
            self._waiting = np.concatenate([self._waiting, samples])
        # However much comes at once, the spectra of a few seconds are in memory.
        step = max(1, round(BLOCK_SECONDS * self.sample_rate))
        pieces = (samples[start : start + step] for start in range(0, len(samples), step))
        with self._reset_on_error():
            return self._mixed(_joined(self._through(pieces, samples.size / self.sample_rate), self.channels))

    @_QUIET
    def flush(self) -> np.ndarray:
        """Return the rest: with it, as many samples have come out as went in. The stream is as new then."""
        parts: list[np.ndarray] = []
        with self._reset_on_error():
            if self._n_received:
                if self._up is not None:
                    parts += self._due(self._blocks([self._up.flush()], halves=False))
                parts += self._last_samples()
                if self._down is not None:
                    parts.append(self._down.flush())
            result = self._mixed(_joined(parts, self.channels))
        self.reset()
        return result

    @contextmanager
    def _reset_on_error(self) -> Iterator[None]:
        """No thread is left, and no half of a block, when something goes wrong on the way."""
        try:
            yield
        except BaseException:
            self.reset()
            raise

    def _through(self, pieces: Iterable[np.ndarray], seconds: float) -> list[np.ndarray]:
        """Denoised samples of pieces of the signal, in their order: those that are due.

        What comes before the middle of the network and what comes after it, with the synthesis, are two
        threads' work where there is enough of it: one is a block ahead, in whole files also across pieces.
        """
        long = seconds > _RECURRENT_BLOCK_SECONDS
        if long and not self._announced:
            self._network.expect(seconds)
        resampled = pieces if self._up is None else map(self._up.process, pieces)
        done = self._due(self._blocks(resampled, halves=long))
        return done if self._for_files else done + self._rest()

    def _due(self, blocks: Iterable[_Block]) -> list[np.ndarray]:
        """Denoised samples of as many blocks as come in, those of the last few come later if in halves."""
        done = []
        for block in blocks:
            self._pending.append(self._in_turn(self._samples, block))
            while len(self._pending) > (0 if block.begun is None else _AHEAD):
                done.append(self._pending.popleft().result())
        return done

    def _rest(self) -> list[np.ndarray]:
        """The samples that were to come later."""
        return [self._pending.popleft().result() for _ in range(len(self._pending))]

    def _in_turn(self, work: Callable[[_Block], np.ndarray], block: _Block) -> Future[np.ndarray]:
        """Work on a block after those before it: by the second thread if it was begun with, or else here."""
        if block.begun is not None:
            self._second = self._second or ThreadPoolExecutor(1, "audenoise-second-half")
            return self._second.submit(work, block)
        wait(self._pending)
        done: Future[np.ndarray] = Future()
        done.set_result(work(block))
        return done

    def _blocks(self, pieces: Iterable[np.ndarray], *, halves: bool) -> Iterator[_Block]:
        """Take samples at the processing rate, analyse them and begin with the blocks that are complete."""
        preset = self._network.preset
        for samples in pieces:
            self._n_processed += len(samples)
            self._receive(self._analysis.process(samples.T))
            while (n_ready := self._n_waiting - preset.context_right) >= self._block_frames:
                yield self._next_block(n_ready - n_ready % preset.context_multiple, halves=halves)

    def _receive(self, spectrum: np.ndarray) -> None:
        self._frames = np.concatenate([self._frames, spectrum.swapaxes(1, 2)], axis=1)

    @property
    def _n_waiting(self) -> int:
        return self._frames.shape[1] - self._n_past

    def _next_block(self, most: int, *, halves: bool) -> _Block:
        """The first waiting frames, at most `most` and a full block; in halves where that may and can be."""
        n_frames, n_past = min(most, self._full_block), self._n_past
        preset, shared = self._network.preset, self._shared_bins
        frames = self._frames[:, : n_past + n_frames + preset.context_right]
        shown = np.zeros((*frames.shape[:2], self._network.bins), np.complex64)
        np.divide(frames[..., :shared], self._window_sum, out=shown[..., :shared])
        n_ahead = frames.shape[1] - n_past - n_frames
        halves = halves and self._network.in_halves(self.channels)
        begun = self._network.begin(shown, self._states, n_ahead) if halves else None
        kept = min(n_past + n_frames, preset.context_left)
        self._frames = self._frames[:, n_past + n_frames - kept :]
        self._n_past = kept
        return _Block(frames[:, n_past : n_past + n_frames], shown, n_past, n_ahead, begun)

    def _spectrum(self, block: _Block) -> np.ndarray:
        """A block denoised: (channels, bins, frames)."""
        noisy, shown, n_past, n_ahead, begun = block
        inside = slice(n_past, n_past + noisy.shape[1])
        shared, top = self._shared_bins, self._top_band
        if begun is None:
            output = self._network.run(shown, self._states, n_ahead)[:, inside]
        else:
            output = self._network.finish(begun, self._states)[:, inside]
        denoised = np.empty_like(noisy)
        np.multiply(output[..., :shared], self._window_sum, out=denoised[..., :shared])
        if self._bins > shared:
            gains = self._top_gains(shown[:, inside, top], output[..., top])
            np.multiply(noisy[..., shared:], gains[..., None], out=denoised[..., shared:])
        # Whatever a network makes of nothing, silence stays silent.
        denoised[~noisy.any(axis=2)] = 0.0
        return denoised.swapaxes(1, 2)

    @_QUIET
    def _samples(self, block: _Block) -> np.ndarray:
        """The denoised samples that a block completes, (samples, channels) at the signal's rate."""
        spectrum = self._spectrum(block)
        if self._phase is not None:
            spectrum = self._phase.process(spectrum)
        return self._at_own_rate(self._synthesis.process(spectrum).T)

    def _last_samples(self) -> list[np.ndarray]:
        """The rest of the samples, as `_samples`."""
        self._receive(self._analysis.flush())
        last = []
        while self._n_waiting:
            block = self._next_block(self._n_waiting, halves=self._for_files)
            last.append(self._in_turn(self._spectrum, block))
        parts, spectra = self._rest(), [each.result() for each in last]
        if self._phase is not None:
            spectra = [*map(self._phase.process, spectra), self._phase.flush()]
        rest = np.concatenate(spectra, axis=2) if spectra else None
        return [*parts, self._at_own_rate(self._synthesis.flush(rest, n_samples=self._n_processed).T)]

    def _at_own_rate(self, samples: np.ndarray) -> np.ndarray:
        if not np.isfinite(samples).all():
            raise SignalError("the samples are too large for the model; scale the audio to full scale 1.0")
        return samples if self._down is None else self._down.process(samples)

    def _top_gains(self, noisy: np.ndarray, denoised: np.ndarray) -> np.ndarray:
        """Gain of the network's top band, (channels, frames), at most 1.

        The ratio of smoothed energies opens at once when something loud begins, and hardly moves in steady
        noise.
        """
        energies = np.stack([np.square(np.abs(part)).sum(axis=2) for part in (denoised, noisy)])
        smooth, smoothed = self._smoothing, np.empty(energies.shape)
        for frame in range(energies.shape[2]):
            self._top_energies = smooth * self._top_energies + (1.0 - smooth) * energies[..., frame]
            smoothed[..., frame] = self._top_energies
        return np.sqrt(np.minimum(1.0, (smoothed[0] + 1e-30) / (smoothed[1] + 1e-30))).astype(np.float32)

    def _mixed(self, denoised: np.ndarray) -> np.ndarray:
        if self._weight < 1.0:
            noisy, self._waiting = self._waiting[: len(denoised)], self._waiting[len(denoised) :]
            denoised = noisy + self._weight * (denoised - noisy)
        if self._scale != 1.0:
            denoised = denoised / self._scale
        return denoised[:, 0] if self._flat else denoised


def _joined(parts: list[np.ndarray], channels: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, channels), np.float32)


def processing_settings(sample_rate: int, model_rate: int, stft: StftSettings) -> tuple[int, StftSettings]:
    """Return the rate at which a signal is processed, and its analysis there.

    Parameters
    ----------
    sample_rate, model_rate : int
        The signal's and the model's, in Hz.
    stft : StftSettings
        The model's.

    Returns
    -------
    rate : int
        `sample_rate` where window, hop and half the FFT come out in whole samples, or nearly so with sizes
        that are fast to transform; otherwise the next higher rate of a usual ratio to the model's, or where
        there is none the next higher multiple of it.
    settings : StftSettings
        As long in seconds as the model's, to 0.3 %.

    Examples
    --------
    >>> settings = StftSettings(n_fft=512, hop_length=256, win_length=512, window="sqrt_hann")
    >>> for rate in (8000, 44100, 48000):
    ...     processing_rate, scaled = processing_settings(rate, 16000, settings)
    ...     print(rate, processing_rate, scaled.n_fft, scaled.hop_length)
    8000 8000 256 128
    44100 44100 1408 704
    48000 48000 1536 768
    """
    # All sizes are multiples of this number of samples, which is what has to come out whole.
    unit = math.gcd(stft.n_fft // 2, stft.hop_length, stft.win_length)
    usual = (int(model_rate * factor) for factor in _RATE_FACTORS if model_rate * factor % 1 == 0)
    above = -(-sample_rate // model_rate) * model_rate  # multiples of the model's rate always fit
    for rate in (sample_rate, *(rate for rate in usual if rate >= sample_rate), above):
        if scaled_unit := _whole_unit(unit * rate / model_rate, near=rate == sample_rate):
            sizes = (size // unit * scaled_unit for size in (stft.n_fft, stft.hop_length, stft.win_length))
            return rate, StftSettings(*sizes, window=stft.window)
    raise SignalError(f"sample_rate {sample_rate} Hz cannot be processed")


def _whole_unit(wanted: float, *, near: bool) -> int | None:
    """The whole number that is `wanted`, or if `near` the closest good one within 0.3 %."""
    if wanted == int(wanted):
        return int(wanted)
    spread = math.floor(_NEAR * wanted) + 1
    candidates = [n for n in range(int(wanted) - spread, int(wanted) + spread + 2) if n > 0 and _is_smooth(n)]
    best = min(candidates, key=lambda n: abs(n - wanted), default=0)
    return best if near and best and abs(best / wanted - 1) <= _NEAR else None


def _is_smooth(number: int) -> bool:
    """Whether a transform of this size is fast: no prime factor above 11."""
    for prime in (2, 3, 5, 7, 11):
        while number % prime == 0:
            number //= prime
    return number == 1


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, numbers.Real)  # NumPy's scalars are registered with it


def check_format(channels: Any, **rates: Any) -> None:
    """Raise `SignalError` for a number of channels or a sample rate, named by its parameter, out of range."""
    for name, rate in rates.items():
        fits = is_number(rate) and MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE
        if not fits or int(rate) != rate:
            raise SignalError(
                f"{name} must be a whole number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz. "
                f"Received: {rate!r}"
            )
    if not (is_number(channels) and 1 <= channels <= MAX_CHANNELS and int(channels) == channels):
        raise SignalError(f"channels must be from 1 to {MAX_CHANNELS}. Received: {channels!r}")


def check_signal(audio: np.ndarray) -> None:
    """`check_layout`, at least one sample, and no more channels than a recording has."""
    check_layout(audio)
    if audio.size == 0:
        raise SignalError(f"audio must have at least one sample. Received: shape {audio.shape}")
    if audio.ndim == 2 and audio.shape[1] > 64 and audio.shape[1] > audio.shape[0]:
        raise SignalError(f"audio must be (samples, channels); transpose it. Received: shape {audio.shape}")


def check_layout(audio: np.ndarray) -> None:
    """Raise `SignalError` unless the array has a shape and a type that can be audio."""
    if not isinstance(audio, np.ndarray) or audio.ndim not in (1, 2):
        received = f"shape {audio.shape}" if isinstance(audio, np.ndarray) else type(audio).__name__
        raise SignalError(
            f"audio must be a NumPy array of (samples,) or (samples, channels). Received: {received}"
        )
    if not (np.issubdtype(audio.dtype, np.floating) or audio.dtype.newbyteorder("=") in _INTEGER_SCALES):
        raise SignalError(f"audio must be floating point, int16 or int32. Received: {audio.dtype}")
