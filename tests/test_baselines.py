"""The classical baselines against slow twins, closed forms and the laws of length."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from recordings import hiss, voice

from audenoise import baselines
from audenoise.baselines import NoiseTracker, spectral_subtraction, wiener_filter
from audenoise.errors import SignalError
from audenoise.metrics import estimate_delay_samples, si_sdr_db
from audenoise.spectral import istft, stft

RATE = 8000
BOTH = pytest.mark.parametrize("denoise", [spectral_subtraction, wiener_filter])
Baseline = Callable[..., np.ndarray]


def noisy_voice(seconds: float, rate: int = RATE, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    clean = voice(seconds, rate, seed=seed)
    return clean + 0.3 * hiss(seconds, rate, seed=seed + 50), clean


def twin_of_the_tracker(start: np.ndarray, frames: np.ndarray, frames_per_s: float) -> np.ndarray:
    """Cohen and Berdugo's recursions, one number after the other."""
    hop_ms = 1000 / frames_per_s
    level_weight, noise_weight, presence_weight = (w ** (hop_ms / 8) for w in (0.8, 0.95, 0.2))
    n_bins = start.shape[1]

    def over_bands(frame: np.ndarray) -> list[float]:
        return [
            0.25 * frame[max(k - 1, 0)] + 0.5 * frame[k] + 0.25 * frame[min(k + 1, n_bins - 1)]
            for k in range(n_bins)
        ]

    level, levels = over_bands(start[0]), []
    for frame in start:
        level = [
            level_weight * a + (1 - level_weight) * b for a, b in zip(level, over_bands(frame), strict=True)
        ]
        levels.append(level)
    least = [min(each[k] for each in levels) for k in range(n_bins)]
    noise = []
    for k in range(n_bins):
        quiet = [start[t, k] for t in range(len(start)) if levels[t][k] <= 5 * least[k]]
        noise.append(sum(quiet) / len(quiet))
    level, next_least, presence, found = levels[0], list(least), [0.0] * n_bins, []
    for t, frame in enumerate(frames):
        smooth = over_bands(frame)
        for k in range(n_bins):
            level = list(level)
            level[k] = level_weight * level[k] + (1 - level_weight) * smooth[k]
            least[k], next_least[k] = min(least[k], level[k]), min(next_least[k], level[k])
        if (t + 1) % round(frames_per_s) == 0:
            least, next_least = list(next_least), list(level)
        for k in range(n_bins):
            speech = level[k] > 5 * least[k]
            presence[k] = presence_weight * presence[k] + (1 - presence_weight) * speech
            weight = noise_weight + (1 - noise_weight) * presence[k]
            noise[k] = weight * noise[k] + (1 - weight) * frame[k]
        found.append(list(noise))
    return np.array(found)


def test_noise_tracker_follows_the_published_recursions():
    rng = np.random.default_rng(0)
    frames = rng.exponential(size=(60, 4)) * np.where(np.arange(60)[:, np.newaxis] % 20 < 6, 30.0, 1.0)
    tracker = NoiseTracker(frames[:10], 12.5)
    found = np.array([tracker.update(frame) for frame in frames])
    np.testing.assert_allclose(found, twin_of_the_tracker(frames[:10], frames, 12.5), rtol=1e-12)


def test_noise_tracker_finds_the_power_of_steady_noise_and_ignores_bursts_over_it():
    rng = np.random.default_rng(1)
    frames = rng.exponential(size=(1500, 65))
    for first in range(200, 1400, 200):
        frames[first : first + 60] *= 30  # half a second of speech in 1.6
    tracker = NoiseTracker(frames[:125], 125.0)
    found = np.array([tracker.update(frame) for frame in frames])[200:].mean()
    assert 10 * np.log10(found) == pytest.approx(0.0, abs=1.5)


def test_noise_tracker_follows_a_rise_within_three_seconds_and_a_fall_at_once():
    rng = np.random.default_rng(2)
    frames = rng.exponential(size=(1500, 65))
    frames[500:1000] *= 100
    tracker = NoiseTracker(frames[:125], 125.0)
    level_db = 10 * np.log10([tracker.update(frame).mean() for frame in frames])
    assert level_db[490] == pytest.approx(0, abs=1)
    assert level_db[500 + 375] == pytest.approx(20, abs=1.5)
    assert level_db[1000 + 125] == pytest.approx(0, abs=1.5)


def twin(audio: np.ndarray, rate: int, gain_of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A whole signal at once: transform, track, weigh, transform back."""
    hop = round(0.008 * rate)
    sizes = {"n_fft": 256, "hop_length": hop, "win_length": 4 * hop, "window": "hann"}
    spectrum = stft(audio.astype(np.float64), **sizes)
    power = np.abs(spectrum / (2 * hop)) ** 2
    tracker = NoiseTracker(power.T[3 : rate // hop - 3], rate / hop)
    gains = np.stack([gain_of(frame, tracker.update(frame).copy()) for frame in power.T], axis=1)
    return istft(gains * spectrum, n_samples=audio.size, **sizes)


def test_spectral_subtraction_is_berouti_s_formula():
    noisy, _ = noisy_voice(2.0)

    def gain_of(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        snr_db = 10 * np.log10(power.sum() / noise.sum())
        alpha = max(1.0, 3.0 - 3 / 20 * min(20.0, max(-5.0, snr_db)))
        left = power - alpha * noise
        return np.sqrt(np.minimum(power, np.where(left > 0.05 * noise, left, 0.05 * noise)) / power)

    denoised = spectral_subtraction(noisy, RATE, over_subtraction=3.0, floor=0.05)
    np.testing.assert_allclose(denoised, twin(noisy, RATE, gain_of), atol=2e-5)


def test_wiener_filter_is_the_decision_directed_one():
    noisy, _ = noisy_voice(2.0)
    last: list[np.ndarray] = []

    def gain_of(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        posterior = power / noise
        new = np.maximum(posterior - 1, 0)
        prior = np.maximum(0.9 * last[-1] / noise + 0.1 * new if last else new, 10 ** (-20 / 10))
        gain = prior / (1 + prior)
        last.append(gain**2 * power)
        return gain

    denoised = wiener_filter(noisy, RATE, smoothing=0.9, min_snr_db=-20.0)
    np.testing.assert_allclose(denoised, twin(noisy, RATE, gain_of), atol=2e-5)


@BOTH
@pytest.mark.parametrize("rate", [8000, 44_100])
def test_hiss_is_taken_out_and_speech_is_kept(denoise: Baseline, rate: int):
    noisy, clean = noisy_voice(4.0, rate)
    denoised = denoise(noisy, rate)
    assert si_sdr_db(clean, denoised) > si_sdr_db(clean, noisy) + 1.5
    assert estimate_delay_samples(clean, denoised, max_delay_samples=rate // 10) == 0
    assert denoised.dtype == np.float32


@BOTH
@pytest.mark.parametrize("rate", [1000, 11_025, 192_000])
@pytest.mark.parametrize("n_samples", [1, 2, 17, 999, 1000, 10_007])
def test_any_length_and_rate(denoise: Baseline, rate: int, n_samples: int):
    audio = np.random.default_rng(3).standard_normal(n_samples)
    denoised = denoise(audio, rate)
    assert denoised.shape == (n_samples,)
    assert np.isfinite(denoised).all()
    assert np.abs(denoised).max() <= 2 * np.abs(audio).max()


@BOTH
def test_blocks_leave_no_seam(denoise: Baseline, monkeypatch):
    noisy, _ = noisy_voice(3.0)
    whole = denoise(noisy, RATE)
    monkeypatch.setattr(baselines, "_BLOCK_S", 1.1)
    np.testing.assert_allclose(denoise(noisy, RATE), whole, atol=1e-6)


@BOTH
def test_memory_beside_input_and_output_does_not_grow_with_the_length(denoise: Baseline):
    def peak_of(seconds: float) -> int:
        audio = hiss(seconds, 1000, seed=4)
        tracemalloc.start()
        denoise(audio, 1000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - 3 * audio.nbytes  # the input as float32, the check for NaN, the result

    assert peak_of(120.0) < 1.3 * peak_of(30.0)


@BOTH
def test_channels_are_independent(denoise: Baseline):
    left, right = noisy_voice(1.5, seed=1)[0], hiss(1.5, RATE, seed=5)
    both = denoise(np.stack([left, right], axis=1), RATE)
    np.testing.assert_allclose(both[:, 0], denoise(left, RATE), atol=1e-6)
    np.testing.assert_allclose(both[:, 1], denoise(right, RATE), atol=1e-6)


@BOTH
def test_silence_stays_silent_and_may_come_first(denoise: Baseline):
    np.testing.assert_array_equal(denoise(np.zeros(5000), RATE), 0)
    noisy, clean = noisy_voice(3.0)
    late = denoise(np.concatenate([np.zeros(RATE), noisy]), RATE)
    assert np.abs(late[: RATE - 300]).max() == 0
    assert si_sdr_db(clean, late[RATE:]) > si_sdr_db(clean, noisy) + 1.5


@BOTH
def test_level_does_not_matter(denoise: Baseline):
    noisy, _ = noisy_voice(2.0)
    np.testing.assert_allclose(1e3 * denoise(1e-3 * noisy, RATE), denoise(noisy, RATE), atol=1e-4)


@BOTH
@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros(0), RATE, "not empty"),
        (np.zeros((5, 2, 2)), RATE, r"\(5, 2, 2\)"),
        (np.zeros(5, np.int16), RATE, "int16"),
        (np.array([0.0, np.nan]), RATE, "NaN"),
        (np.zeros(5), 999, "at least 1000 Hz"),
    ],
)
def test_unusable_audio_is_refused(denoise: Baseline, audio: np.ndarray, rate: int, message: str):
    with pytest.raises(SignalError, match=message):
        denoise(audio, rate)


def test_parameters_out_of_range_are_refused():
    with pytest.raises(SignalError, match="over_subtraction"):
        spectral_subtraction(np.ones(9), RATE, over_subtraction=0.5)
    with pytest.raises(SignalError, match="floor"):
        spectral_subtraction(np.ones(9), RATE, floor=-0.1)
    with pytest.raises(SignalError, match="smoothing"):
        wiener_filter(np.ones(9), RATE, smoothing=1.0)
    with pytest.raises(SignalError, match="min_snr_db"):
        wiener_filter(np.ones(9), RATE, min_snr_db=float("nan"))
