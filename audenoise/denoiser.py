"""Audio in, audio out: a published model applied to signals of any rate, length and channel count."""

import os
from typing import Any, Self

import numpy as np

from audenoise.errors import ModelError, SignalError
from audenoise.network import Network
from audenoise.presets import METADATA_FILE, AppliedModel, Preset, load_preset
from audenoise.shifts import ShiftedStream, check_shifts
from audenoise.stream import DenoiserStream, check_format, check_signal, is_number, peak_of, work_samples


class Denoiser(AppliedModel):
    """A published model, ready to denoise.

    Parameters
    ----------
    preset : Preset
        As `load_preset` returns it.
    threads : int, optional
        Threads of the network. Default: 2, or 1 on a machine with one core.

    Attributes
    ----------
    preset : Preset
    threads : int

    Raises
    ------
    ModelError
        If the model's graph is damaged, isn't one of a denoiser or doesn't fit the metadata.
    """

    def __init__(self, preset: Preset, *, threads: int | None = None) -> None:
        super().__init__(preset, threads=threads)
        if preset.is_enhancer:
            raise ModelError(f"{preset.folder}: {METADATA_FILE}: is an enhancer's; use `audenoise enhance`")
        self._network = Network(preset, threads=self.threads)
        try:
            self.stream(preset.sample_rate)
        except SignalError as error:
            raise ModelError(f"{preset.folder}: {METADATA_FILE}: stft: {error}") from error

    @classmethod
    def from_preset(
        cls, name_or_path: str | os.PathLike[str] | None = None, *, threads: int | None = None
    ) -> Self:
        """Load a model by name or from a folder.

        Parameters
        ----------
        name_or_path : str or PathLike, optional
            Bundled model or path to a model folder. Default: the standard model, which also streams. "large",
            with which `audenoise predict` works, takes more noise out of whole signals.
        threads : int, optional
            As above.

        Raises
        ------
        ModelError
            If the model is missing or damaged.
        """
        return cls(load_preset(name_or_path), threads=threads)

    def denoise(
        self,
        audio: np.ndarray,
        sample_rate: int,
        *,
        strength: float = 1.0,
        max_attenuation_db: float | None = None,
        shifts: int = 1,
    ) -> np.ndarray:
        """Denoise a whole signal.

        Parameters
        ----------
        audio : np.ndarray
            (samples,) or (samples, channels), at least one sample. Floating point with full scale 1.0, or
            int16 or int32, which are divided by 2^15 or 2^31 first. Floating-point audio beyond full scale,
            16-bit numbers as floats say, is scaled to it on the way to the network, and back. Channels are
            denoised independently.
        sample_rate : int
            In Hz.
        strength : float, optional
            From 0 (the signal as it is) to 1: noisy + strength * (denoised - noisy).
        max_attenuation_db : float, optional
            Nothing is turned down by more than this, in dB, at least 0: with g = 10^(-dB/20) the result is
            g * noisy + (1 - g) * denoised. Default: no limit.
        shifts : int, optional
            The mean of so many runs, at most 8, whose frames begin at different samples: a little cleaner for
            so many times the work. Default: 1.

        Returns
        -------
        np.ndarray
            float32 of the shape of `audio`, without delay. Not clipped.

        Raises
        ------
        SignalError
            If the audio is empty, NaN, infinite or of another type, or a parameter is out of range.

        Examples
        --------
        >>> denoiser = Denoiser.from_preset()  # doctest: +SKIP
        >>> denoised = denoiser.denoise(noisy, 48000, max_attenuation_db=20)  # doctest: +SKIP
        """
        check_signal(audio)
        channels = 1 if audio.ndim == 1 else audio.shape[1]
        stream = self.whole_stream(
            sample_rate,
            channels,
            strength=strength,
            max_attenuation_db=max_attenuation_db,
            shifts=shifts,
            peak=peak_of(audio),
        )
        stream.expect(len(audio))
        result = np.empty(audio.shape, np.float32)
        done, step = 0, work_samples(sample_rate, channels * shifts)
        for start in range(0, len(audio), step):
            ready = stream.process(audio[start : start + step])
            result[done : done + len(ready)] = ready
            done += len(ready)
        result[done:] = stream.flush()
        return result

    def whole_stream(
        self, sample_rate: int, channels: int = 1, *, shifts: int = 1, **settings: Any
    ) -> DenoiserStream | ShiftedStream:
        """Start a stream for a whole signal, which comes in pieces of `work_samples`.

        Parameters
        ----------
        sample_rate, channels : int
        shifts : int, optional
            As for `denoise`.
        **settings
            As for `stream`, all but `block_s`.

        Raises
        ------
        SignalError
            If a parameter is out of range.
        """
        check_format(channels, sample_rate=sample_rate)
        if check_shifts(shifts) == 1:
            return self.stream(sample_rate, channels, block_s=None, **settings)
        hop_s = self.preset.stft.hop_length / self.preset.sample_rate
        stream = self.stream(sample_rate, channels * shifts, block_s=None, **settings)
        return ShiftedStream(stream, shifts, hop_s=hop_s)

    def stream(
        self,
        sample_rate: int,
        channels: int = 1,
        *,
        strength: float = 1.0,
        max_attenuation_db: float | None = None,
        block_s: float | None = 0.0,
        peak: float = 1.0,
    ) -> DenoiserStream:
        """Start a stream, for audio that comes in blocks. Streams of one denoiser are independent.

        Parameters
        ----------
        sample_rate : int
            In Hz.
        channels : int, optional
        strength, max_attenuation_db : optional
            As for `denoise`.
        block_s : float or None, optional
            Seconds of audio to gather for each run of the network: longer is faster and later. 0 runs it as
            soon as a frame is complete, for the lowest latency; None takes what is fastest for a whole file,
            some seconds. With a model that doesn't look ahead the samples are the same, only the time when
            they come out isn't. One that does is run again with each block on all that it is shown of what
            comes, two seconds with `large`, so short blocks cost many times as much, and what it makes of a
            signal depends a little on the blocks.
        peak : float, optional
            Largest magnitude that will come, if that is known to be beyond full scale: all is scaled to full
            scale on the way to the network, and back.

        Raises
        ------
        SignalError
            If a parameter is out of range.

        Examples
        --------
        >>> stream = denoiser.stream(16000)  # doctest: +SKIP
        >>> parts = [stream.process(block) for block in blocks] + [stream.flush()]  # doctest: +SKIP
        """
        check_format(channels, sample_rate=sample_rate)
        if not (is_number(strength) and 0.0 <= strength <= 1.0):
            raise SignalError(f"strength must be from 0 to 1. Received: {strength!r}")
        limit = max_attenuation_db
        if limit is not None and not (is_number(limit) and limit >= 0.0):
            raise SignalError(f"max_attenuation_db must be at least 0. Received: {limit!r}")
        if block_s is not None and not (is_number(block_s) and 0.0 <= block_s <= 60.0):
            raise SignalError(f"block_s must be from 0 to 60 seconds. Received: {block_s!r}")
        kept = 0.0 if max_attenuation_db is None else 10.0 ** (-max_attenuation_db / 20.0)
        # Both mixtures are linear in (denoised - noisy), so they come to one weight.
        return DenoiserStream(
            self._network,
            int(sample_rate),
            int(channels),
            weight=strength * (1.0 - kept),
            block_s=block_s,
            peak=peak,
        )
