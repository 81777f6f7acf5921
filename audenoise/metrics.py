"""How close an estimate is to a clean reference, and how good it sounds.

A reference and an estimate are one-channel arrays of one length, full scale 1.0, aligned in time (see
`estimate_delay_samples`). Higher is better for every metric but the log-spectral distance. `pesq_wideband`,
`stoi`, `estoi` and `dnsmos` need packages of the extra `metrics`, which are looked for at the first call.
"""

import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.errors import AudenoiseError, SignalError

SILENCE_RMS = 1e-7  # -140 dBFS, below the rounding error of 24-bit audio
DEFAULT_METRICS = ("pesq_wb", "estoi", "si_sdr_db", "dnsmos")

_MIN_STOI_S = (256 + 29 * 128) / 10_000  # 30 frames of 256 samples, hop 128, at the 10 kHz where STOI works
_MIN_PESQ_S = 0.25
_MAX_PESQ_S = 60.0  # its code has room for 50 utterances and writes beyond it without a check
_PERCEPTUAL_RATE = 16_000  # the rate of wideband PESQ and of DNSMOS
_CORRELATION_BLOCK = 1 << 18
_DNSMOS_WINDOW = 144_160  # 9.01 s at 16 kHz
# From the network's raw outputs to the scale of the listening test (coefficients for x^2, x, 1), published
# with P.835.
_DNSMOS_POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def snr_db(reference: AudioVector, estimate: AudioVector) -> float:
    """Signal-to-noise ratio: the energy of the reference over the energy of the difference.

    Every difference counts as noise, a wrong level too.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)

    Returns
    -------
    float
        10 log10(sum reference² / sum (estimate - reference)²), in dB; `inf` if they are equal.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, or the reference is silent.

    Examples
    --------
    >>> float(round(snr_db(np.array([1.0, -1.0]), np.array([1.1, -0.9])), 6))
    20.0
    """
    reference, estimate = valid_pair(reference, estimate)
    return _ratio_db(_energy(reference), _energy(estimate - reference))


def si_sdr_db(reference: AudioVector, estimate: AudioVector) -> float:
    """Scale-invariant signal-to-distortion ratio.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Both means are removed first. The target is the projection of the estimate on the reference, the
    distortion is the rest, so the level and the sign of the estimate don't matter.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)

    Returns
    -------
    float
        10 log10(|a·reference|² / |a·reference - estimate|²) in dB, where a = <estimate, reference> /
        |reference|²; `inf` if the estimate is a multiple of the reference, `-inf` if the two are orthogonal.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, or either signal is silent after its mean is removed.

    Examples
    --------
    >>> reference, noise = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    >>> float(round(si_sdr_db(reference, 3 * reference + 0.3 * noise), 6))
    20.0
    """
    reference, estimate = valid_pair(reference, estimate)
    reference = _not_silent(reference - reference.mean(), "reference without its mean")
    estimate = _not_silent(estimate - estimate.mean(), "estimate without its mean")
    target = (_product(estimate, reference) / _energy(reference)) * reference
    return _ratio_db(_energy(target), _energy(target - estimate))


def log_spectral_distance(
    reference: AudioVector,
    estimate: AudioVector,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    bins: np.ndarray | None = None,
) -> float:
    """Log-spectral distance between two power spectrograms (Gray and Markel, IEEE Trans. ASSP 24(5), 1976).

    In the unit that papers on bandwidth extension use, so that their tables compare; times 10 is dB.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    n_fft, hop_length : int
        Length and step of the Hann window, in samples. The last incomplete frame is left out.
    bins : array of bool, shape (n_fft // 2 + 1,) or (frames, n_fft // 2 + 1), optional
        Which to compare, in all frames or in each; all without it. Frames without any are left out.

    Returns
    -------
    float
        Mean over frames of the root mean square over frequency of log10(P_reference / P_estimate), 0 for
        equal signals. Powers are floored at 1e-8, so that digital silence stays finite.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, the reference is silent or shorter than `n_fft`.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(8000)
    >>> float(round(log_spectral_distance(noise, 10 * noise), 6))
    2.0
    """
    reference, estimate = valid_pair(reference, estimate)
    if n_fft < 2 or hop_length < 1:
        raise SignalError(f"n_fft must be at least 2 and hop_length 1. Received: {n_fft} and {hop_length}")
    _long_enough(reference, n_fft, f"a log-spectral distance with n_fft {n_fft}")
    window = np.hanning(n_fft + 1)[:-1]
    starts = range(0, reference.size - n_fft + 1, hop_length)

    chosen = np.ones(n_fft // 2 + 1, bool) if bins is None else bins
    chosen = np.broadcast_to(chosen, (len(starts), n_fft // 2 + 1))

    def log_power(audio: np.ndarray, start: int, wanted: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft(audio[start : start + n_fft] * window)
        return np.log10(np.maximum(np.abs(spectrum[wanted]) ** 2, 1e-8))

    # Frame by frame: the spectrograms of a long recording at once would take many times its own memory.
    distances = [
        math.sqrt(np.mean((log_power(reference, start, wanted) - log_power(estimate, start, wanted)) ** 2))
        for start, wanted in zip(starts, chosen, strict=True)
        if wanted.any()
    ]
    return float(np.mean(distances)) if distances else float("nan")


def stoi(reference: AudioVector, estimate: AudioVector, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al., IEEE Trans. ASLP 19(7), 2011), by pystoi.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz; pystoi resamples to 10 kHz.

    Returns
    -------
    float
        About 0 to 1; 1 for equal signals.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, the reference is silent, or less than 0.4 s of it is
        speech.
    AudenoiseError
        If pystoi isn't installed.
    """
    return _intelligibility(reference, estimate, sample_rate, extended=False)


def estoi(reference: AudioVector, estimate: AudioVector, sample_rate: int) -> float:
    """Extended STOI (Jensen and Taal, IEEE/ACM Trans. ASLP 24(11), 2016), by the package pystoi.

    It follows modulated noise, such as competing voices, better than STOI. Parameters, return value and
    errors are those of `stoi`; tables often show it times 100, as a percentage.
    """
    return _intelligibility(reference, estimate, sample_rate, extended=True)


def pesq_wideband(reference: AudioVector, estimate: AudioVector, sample_rate: int) -> float:
    """Wideband PESQ, ITU-T P.862.2 (2007), by the package pesq.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz; other rates than 16 kHz are resampled by soxr, and what lies above 8 kHz isn't judged.

    Returns
    -------
    float
        Listening quality (MOS-LQO), 1.02 to 4.64.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, either signal is silent, shorter than 0.25 s or longer
        than 60 s (the package would crash; `audenoise.evaluation` takes the mean over stretches), or PESQ
        finds no speech in it.
    AudenoiseError
        If pesq isn't installed.
    """
    reference, estimate = valid_pair(reference, estimate)
    _not_silent(estimate, "estimate")
    _valid_rate(sample_rate)
    _long_enough(reference, math.ceil(_MIN_PESQ_S * sample_rate), "PESQ")
    if reference.size > _MAX_PESQ_S * sample_rate:
        raise SignalError(
            f"PESQ takes at most {_MAX_PESQ_S:g} s; score stretches of a longer recording. "
            f"Received: {reference.size / sample_rate:.1f} s"
        )
    package = _metrics_package("pesq")
    reference = _to_perceptual_rate(reference, sample_rate)
    estimate = _to_perceptual_rate(estimate, sample_rate)
    try:
        return float(package.pesq(_PERCEPTUAL_RATE, reference, estimate, "wb"))
    except (package.NoUtterancesError, package.BufferTooShortError) as error:
        raise SignalError("PESQ found no speech in the reference or the estimate") from error


def dnsmos(audio: AudioVector, sample_rate: int) -> dict[str, float]:
    """DNSMOS P.835: quality predicted by a network, without a reference (Reddy et al., ICASSP 2022).

    The network comes with the package speechmos and runs on ONNX Runtime. It hears windows of 9.01 s, one
    second apart; shorter audio is repeated. The level matters: compare at equal level.

    Parameters
    ----------
    audio : AudioVector, shape (samples,)
        Samples beyond full scale are clipped, as in a 16-bit file.
    sample_rate : int
        In Hz; resampled to 16 kHz by soxr where it differs.

    Returns
    -------
    dict of str to float
        `ovrl` (overall), `sig` (speech) and `bak` (absence of noise), each about 1 to 5, the mean over the
        windows.

    Raises
    ------
    SignalError
        If there are no samples or one isn't finite.
    AudenoiseError
        If speechmos isn't installed.
    """
    audio = _valid_audio(audio, "audio")
    _valid_rate(sample_rate)
    session = _dnsmos_session()
    audio = np.clip(_to_perceptual_rate(audio, sample_rate), -1.0, 1.0).astype(np.float32)
    while audio.size < _DNSMOS_WINDOW:
        audio = np.concatenate([audio, audio])
    raw = np.array(
        [
            session.run(None, {"input_1": audio[start : start + _DNSMOS_WINDOW][np.newaxis]})[0][0]
            for start in _dnsmos_starts(audio.size)
        ],
        dtype=np.float64,
    )
    return {
        name: float(np.mean(np.polyval(_DNSMOS_POLYNOMIALS[name], raw[:, column])))
        for column, name in enumerate(("sig", "bak", "ovrl"))
    }


def estimate_delay_samples(
    reference: AudioVector, estimate: AudioVector, *, max_delay_samples: int | None = None
) -> int:
    """Find the constant delay of an estimate by the peak of its cross-correlation with the reference.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    max_delay_samples : int, optional
        Search -max…max only; all delays by default. A sensible limit keeps a periodic signal from matching
        one or more periods away.

    Returns
    -------
    int
        Positive if the estimate is late: estimate[n + delay] goes with reference[n].

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, or either signal is silent.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(100)
    >>> estimate_delay_samples(noise, np.roll(noise, 7))
    7
    """
    reference, estimate = valid_pair(reference, estimate)
    _not_silent(estimate, "estimate")
    longest = reference.size - 1
    if max_delay_samples is not None:
        if max_delay_samples < 0:
            raise SignalError(f"max_delay_samples must be at least 0. Received: {max_delay_samples}")
        longest = min(longest, max_delay_samples)
    # The correlation at these lags is a sum over blocks of the reference, each with what lies up to `longest`
    # around it in the estimate: the same sum, in memory that doesn't grow with the recording.
    block = max(_CORRELATION_BLOCK, 2 * longest)
    lags = np.arange(-longest, longest + 1)
    correlation = np.zeros(lags.size)
    for start in range(0, reference.size, block):
        part = reference[start : start + block]
        first = max(0, start - longest)
        around = estimate[first : start + part.size + longest]
        furthest = part.size + start - first + longest
        n_fft = 1 << max(part.size + around.size - 1, furthest).bit_length()  # room for every lag: no wrap
        spectrum = np.fft.rfft(around, n_fft) * np.conj(np.fft.rfft(part, n_fft))
        correlation += np.fft.irfft(spectrum, n_fft)[lags + (start - first)]
    return int(lags[np.argmax(correlation)])


def remove_delay(estimate: AudioVector, delay_samples: int) -> AudioVector:
    """Shift an estimate earlier by a delay; zeros take the place of samples that it doesn't have.

    Parameters
    ----------
    estimate : AudioVector, shape (samples,)
    delay_samples : int
        As `estimate_delay_samples` returns it; a negative value shifts later.

    Returns
    -------
    AudioVector
        Same length as `estimate`, a copy.

    Examples
    --------
    >>> remove_delay(np.array([0.0, 0.0, 1.0, 2.0]), 2)
    array([1., 2., 0., 0.])
    """
    shifted = np.zeros_like(estimate)
    kept = max(0, estimate.size - abs(delay_samples))
    if delay_samples >= 0:
        shifted[:kept] = estimate[estimate.size - kept :]
    else:
        shifted[estimate.size - kept :] = estimate[:kept]
    return shifted


def score_pair(
    reference: AudioVector,
    estimate: AudioVector,
    sample_rate: int,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> dict[str, float]:
    """Score one estimate by several metrics.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz.
    metrics : sequence of str
        Any of `METRICS`: snr_db, si_sdr_db, lsd, stoi, estoi, pesq_wb, dnsmos.

    Returns
    -------
    dict of str to float
        In the order of `metrics`; dnsmos becomes dnsmos_ovrl, dnsmos_sig and dnsmos_bak.

    Raises
    ------
    SignalError
        For an unknown metric, and what the metrics themselves raise.

    Examples
    --------
    >>> score_pair(np.array([1.0, -1.0]), np.array([1.1, -0.9]), 16000, metrics=["snr_db"])["snr_db"] > 19.9
    True
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise SignalError(f"metrics must be among {', '.join(METRICS)}. Received: {', '.join(unknown)}")
    scores: dict[str, float] = {}
    for name in metrics:
        scores.update(_SCORERS[name](reference, estimate, sample_rate))
    return scores


def _dnsmos_scores(reference: AudioVector, estimate: AudioVector, sample_rate: int) -> dict[str, float]:
    valid_pair(reference, estimate)
    scores = dnsmos(estimate, sample_rate)
    return {f"dnsmos_{name}": scores[name] for name in ("ovrl", "sig", "bak")}


_SCORERS: dict[str, Callable[[AudioVector, AudioVector, int], dict[str, float]]] = {
    "snr_db": lambda reference, estimate, _: {"snr_db": snr_db(reference, estimate)},
    "si_sdr_db": lambda reference, estimate, _: {"si_sdr_db": si_sdr_db(reference, estimate)},
    "lsd": lambda reference, estimate, _: {"lsd": log_spectral_distance(reference, estimate)},
    "stoi": lambda reference, estimate, rate: {"stoi": stoi(reference, estimate, rate)},
    "estoi": lambda reference, estimate, rate: {"estoi": estoi(reference, estimate, rate)},
    "pesq_wb": lambda reference, estimate, rate: {"pesq_wb": pesq_wideband(reference, estimate, rate)},
    "dnsmos": _dnsmos_scores,
}
METRICS = tuple(_SCORERS)
_PACKAGES = {"stoi": "pystoi", "estoi": "pystoi", "pesq_wb": "pesq", "dnsmos": "speechmos"}


def missing_packages(metrics: Sequence[str] = METRICS) -> dict[str, str]:
    """Metrics that can't be computed here, with the package of the extra `metrics` that each one lacks.

    Examples
    --------
    >>> missing_packages(["snr_db", "lsd"])
    {}
    """
    wanted = {name: _PACKAGES[name] for name in metrics if name in _PACKAGES}
    return {name: package for name, package in wanted.items() if not _is_installed(package)}


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it stands in sys.modules as None
        return False


def _dnsmos_starts(n_samples: int) -> list[int]:
    # One window a second. The published script computes each end in floating point and drops the windows that
    # come out one sample short (those that begin 7 to 23 s in); so do we, or longer clips would score
    # differently.
    n_windows = max(1, n_samples // _PERCEPTUAL_RATE - 9)
    return [
        second * _PERCEPTUAL_RATE
        for second in range(n_windows)
        if int((second + 9.01) * _PERCEPTUAL_RATE) - second * _PERCEPTUAL_RATE >= _DNSMOS_WINDOW
    ]


def _intelligibility(
    reference: AudioVector, estimate: AudioVector, sample_rate: int, *, extended: bool
) -> float:
    reference, estimate = valid_pair(reference, estimate)
    _valid_rate(sample_rate)
    _long_enough(reference, math.ceil(_MIN_STOI_S * sample_rate), "STOI")
    package = _metrics_package("pystoi")
    with warnings.catch_warnings():
        # pystoi warns and returns 1e-5 where too little is left once it has dropped the silent frames.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(package.stoi(reference, estimate, sample_rate, extended=extended))
        except RuntimeWarning as warning:
            raise SignalError("reference has less than 0.4 s of speech: too little for STOI") from warning


def _valid_audio(audio: AudioVector, name: str) -> np.ndarray:
    array = np.asarray(audio)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise SignalError(
            f"{name} must be floats of shape (samples,), not empty. Received: {array.dtype} {array.shape}"
        )
    if not np.isfinite(array).all():
        raise SignalError(f"{name} has NaN or infinite samples")
    return array.astype(np.float64)  # sums of millions of float32 squares lose digits


def valid_pair(reference: AudioVector, estimate: AudioVector) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64.

    Raises
    ------
    SignalError
        If they are no floats of one length, a sample isn't finite, or the reference is silent.
    """
    valid_reference, valid_estimate = _valid_audio(reference, "reference"), _valid_audio(estimate, "estimate")
    if valid_reference.size != valid_estimate.size:
        raise SignalError(
            "reference and estimate must have one length. "
            f"Received: {valid_reference.size} and {valid_estimate.size} samples"
        )
    return _not_silent(valid_reference, "reference"), valid_estimate


def _valid_rate(sample_rate: int) -> None:
    if not (isinstance(sample_rate, (int, np.integer)) and sample_rate >= 1):
        raise SignalError(f"sample_rate must be a whole number of Hz, at least 1. Received: {sample_rate!r}")


def _not_silent(audio: np.ndarray, name: str) -> np.ndarray:
    if _energy(audio) <= audio.size * SILENCE_RMS**2:
        raise SignalError(f"{name} is silent: nothing to measure")
    return audio


def _long_enough(audio: np.ndarray, n_samples: int, purpose: str) -> None:
    if audio.size < n_samples:
        raise SignalError(f"{purpose} needs at least {n_samples} samples. Received: {audio.size}")


def _product(first: np.ndarray, second: np.ndarray) -> float:
    """Inner product. That of BLAS depends in its last digits on the number of threads."""
    return float(np.einsum("i,i->", first, second))


def _energy(audio: np.ndarray) -> float:
    return _product(audio, audio)


def _ratio_db(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def _to_perceptual_rate(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == _PERCEPTUAL_RATE:
        return audio
    import soxr

    return soxr.resample(audio, sample_rate, _PERCEPTUAL_RATE)


def _missing(package: str) -> AudenoiseError:
    hint = " (pesq is built on your machine by a C compiler)" if package == "pesq" else ""
    return AudenoiseError(f"this metric needs the package {package}: pip install audenoise[metrics]{hint}")


def _metrics_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name) from error


@lru_cache(maxsize=1)
def _dnsmos_session() -> Any:
    # Only the model file of speechmos is used: importing the package would pull librosa, requests and a
    # second model.
    found = importlib.util.find_spec("speechmos")
    if found is None or not found.submodule_search_locations:
        raise _missing("speechmos")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = Path(found.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
