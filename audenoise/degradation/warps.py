"""Time and pitch: wobbling speed, stretched time, shifted pitch and formants."""

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.degradation.bands import at_rate, fit
from audenoise.mixing import loop_to_length

_FRAME_S, _SEARCH_S, _SEAM_S = 0.03, 0.012, 0.005
_LIFTER_S = (0.0014, 0.0024)
"""Of the cepstrum: what is quicker than the first belongs to the formants, what is slower than the second to
the voice."""


def change_speed(audio: AudioVector, n_samples: int) -> AudioVector:
    """Resample to `n_samples`, which shifts pitch and tempo alike (Ko et al. 2015)."""
    from scipy.signal import resample

    return audio if audio.size == n_samples else np.asarray(resample(audio, n_samples)).astype(np.float32)


def flutter(
    audio: AudioVector,
    sample_rate: int,
    *,
    depths: tuple[float, float],
    rates_hz: tuple[float, float],
    phases: tuple[float, float],
) -> AudioVector:
    """Let the speed wobble about 1; the mean delay is zero.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    depths : tuple of float
        Largest share by which each wobble changes the speed.
    rates_hz : tuple of float
        Of each wobble; it displaces samples by up to depth / (2 pi rate) seconds.
    phases : tuple of float
        In radians.
    """
    from scipy.ndimage import map_coordinates

    time = np.arange(audio.size)
    place = time.astype(np.float64)
    for depth, rate, phase in zip(depths, rates_hz, phases, strict=True):
        turn = 2 * np.pi * rate / sample_rate
        place += depth / turn * np.sin(turn * time + phase)
    # Splines lose little below a third of the sample rate.
    return np.asarray(map_coordinates(audio, [place], order=3, mode="constant", prefilter=True), np.float32)


def stretch_to(audio: AudioVector, n_samples: int, sample_rate: int) -> AudioVector:
    """The same pitch in another time: waveform-similarity overlap-add (Verhelst and Roelands, ICASSP 1993).

    Windowed pieces are laid side by side at even steps; each comes from near the place it should have, from
    where it fits the end of the one before best, so no phase is made up.

    Parameters
    ----------
    audio : AudioVector
    n_samples : int
        Of the result.
    sample_rate : int
        In Hz.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    if n_samples == audio.size:
        return audio
    half = max(2, round(_FRAME_S / 2 * sample_rate))
    search = max(1, round(_SEARCH_S * sample_rate))
    length, step = 2 * half, audio.size / n_samples
    window = (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / half)).astype(np.float32)
    n_frames = -(-n_samples // half) + 1
    margin = length + search
    padded = np.pad(audio.astype(np.float32), (margin, margin + length + search))
    energy = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    size = next_fast_len(length + 2 * search + length, real=True)
    result = np.zeros((n_frames + 1) * half, np.float32)
    last = padded.size - length - 2 * search - 1
    follows: np.ndarray | None = None
    for i in range(n_frames):
        centre = min(round(i * half * step), audio.size)
        first = min(max(centre - half + margin - search, 0), last)
        if follows is None:
            chosen = first + search
        else:
            region = padded[first : first + length + 2 * search]
            spectra = [np.asarray(rfft(each, size)) for each in (region, follows)]
            match = np.asarray(irfft(spectra[0] * np.conj(spectra[1]), size))[: 2 * search + 1]
            power = (
                energy[first + length : first + length + 2 * search + 1]
                - energy[first : first + 2 * search + 1]
            )
            fits = match / np.sqrt(power + 1e-6 * (power.max() + 1e-12))
            fits[search] += 1e-9  # where all fit alike, as in silence, none is moved
            chosen = first + int(np.argmax(fits))
        result[i * half : i * half + length] += window * padded[chosen : chosen + length]
        follows = padded[chosen + half : chosen + half + length]
    return result[half : half + n_samples]


def time_stretch(audio: AudioVector, sample_rate: int, *, speed: float) -> AudioVector:
    """Speak `speed` times as fast, then cut or repeat to the length that it had.

    Where it is repeated, it fades out and in within 5 ms, since a click there would be one to give back.
    """
    spoken = stretch_to(audio, max(1, round(audio.size / speed)), sample_rate)
    if spoken.size >= audio.size:
        return spoken[: audio.size]
    repeated = np.array(loop_to_length(spoken, audio.size))
    fade = np.linspace(0, 1, min(max(1, round(_SEAM_S * sample_rate)), spoken.size), dtype=np.float32)
    for seam in range(spoken.size, audio.size, spoken.size):
        repeated[seam - fade.size : seam] *= fade[::-1]
        repeated[seam : seam + fade.size] *= fade[: audio.size - seam]
    return repeated


def pitch_shift(audio: AudioVector, sample_rate: int, *, semitones: float) -> AudioVector:
    """Shift the pitch, and the formants with it: resample, then stretch back in time."""
    ratio = 2 ** (semitones / 12)
    n = max(1, round(audio.size / ratio))
    faster = fit(at_rate(audio, sample_rate * ratio, sample_rate), n)
    return stretch_to(faster, audio.size, sample_rate)


def formant_shift(audio: AudioVector, sample_rate: int, *, ratio: float) -> AudioVector:
    """Move the formants to `ratio` times their frequency; pitch and level stay.

    The envelope of each spectrum is what is left of its logarithm when the cepstrum beyond about 2 ms is
    set to zero (Oppenheim and Schafer); it is divided out and put back shifted. Where the shifted envelope
    would come from above half the sample rate, the spectrum keeps its own.
    """
    from scipy.fft import irfft, rfft

    from audenoise.degradation.levels import keep_level
    from audenoise.spectral import istft, stft

    n_fft = 1 << max(4, round(0.021 * sample_rate).bit_length())
    sizes = {"n_fft": n_fft, "hop_length": n_fft // 4, "window": "hann"}
    spectrum = stft(audio.astype(np.float32), **sizes)
    frames = spectrum.swapaxes(-1, -2)
    level = np.log(np.abs(frames) + 1e-5)
    cepstrum = np.asarray(irfft(level, n_fft))
    start, stop = _LIFTER_S
    quefrency = np.minimum(np.arange(n_fft), np.arange(n_fft, 0, -1)) / sample_rate
    lifter = 0.5 + 0.5 * np.cos(np.pi * np.clip((quefrency - start) / (stop - start), 0, 1))
    envelope = np.real(np.asarray(rfft(cepstrum * lifter.astype(np.float32))))
    bins = envelope.shape[-1]
    place = np.minimum(np.arange(bins) / ratio, bins - 1)
    low = np.minimum(place.astype(int), bins - 2)
    part = (place - low).astype(np.float32)
    moved = envelope[:, low] * (1 - part) + envelope[:, low + 1] * part
    beyond = np.arange(bins) / ratio > bins - 1
    change = np.where(beyond, 0, np.clip(moved - envelope, -4.6, 4.6)).astype(np.float32)
    shifted = (frames * np.exp(change)).swapaxes(-1, -2)
    return keep_level(istft(shifted, n_samples=audio.size, **sizes), audio)
