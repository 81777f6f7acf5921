"""Metrics against closed forms, a slow twin and the reference script of DNSMOS."""

import math
import sys

import numpy as np
import pytest

from audenoise import metrics
from audenoise.errors import AudenoiseError, SignalError

RATE = 16_000


@pytest.fixture(scope="module")
def speech_like() -> np.ndarray:
    """3 s of a voiced tone with syllables, which PESQ and STOI accept as speech."""
    t = np.arange(3 * RATE) / RATE
    pitch = np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    harmonics = [np.sin(2 * np.pi * k * pitch) / k for k in range(1, 25)]
    return 0.1 * np.sum(harmonics, axis=0) * np.clip(np.sin(2 * np.pi * 2 * t), 0, None)


def orthogonal_pair(n_samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two zero-mean signals of unit power with an inner product of zero."""
    first, second = np.random.default_rng(seed).standard_normal((2, n_samples))
    first -= first.mean()
    second -= second.mean()
    second -= first * (first @ second) / (first @ first)
    return first / np.sqrt(np.mean(first**2)), second / np.sqrt(np.mean(second**2))


@pytest.mark.parametrize("ratio_db", [-20.0, 0.0, 3.0, 40.0])
def test_snr_and_si_sdr_give_the_ratio_that_was_mixed(ratio_db):
    reference, noise = orthogonal_pair(4000)
    estimate = reference + noise * 10 ** (-ratio_db / 20)
    assert metrics.snr_db(reference, estimate) == pytest.approx(ratio_db, abs=1e-9)
    assert metrics.si_sdr_db(reference, estimate) == pytest.approx(ratio_db, abs=1e-9)


@pytest.mark.parametrize("gain", [0.001, -1.0, 50.0])
def test_si_sdr_ignores_level_sign_and_offset_where_snr_does_not(gain):
    reference, noise = orthogonal_pair(4000)
    estimate = reference + 0.1 * noise
    changed = gain * estimate + 0.3
    assert metrics.si_sdr_db(reference + 5, changed) == pytest.approx(
        metrics.si_sdr_db(reference, estimate), abs=1e-8
    )
    assert metrics.snr_db(reference, changed) < metrics.snr_db(reference, estimate) - 1


def test_limits_of_snr_and_si_sdr():
    reference, noise = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    assert metrics.snr_db(reference, reference) == math.inf
    assert metrics.snr_db(reference, 2 * reference) == pytest.approx(0.0)
    assert metrics.si_sdr_db(reference, 4 * reference) == math.inf
    assert metrics.si_sdr_db(reference, noise) == -math.inf


def test_float32_is_summed_without_loss_of_digits():
    reference, noise = orthogonal_pair(400_000)
    estimate = (reference + 1e-3 * noise).astype(np.float32)
    assert metrics.si_sdr_db(reference.astype(np.float32), estimate) == pytest.approx(60.0, abs=1e-3)


def test_log_spectral_distance_of_a_gain_is_the_gain():
    audio = np.random.default_rng(1).standard_normal(10_000)
    assert metrics.log_spectral_distance(audio, audio) == 0.0
    assert metrics.log_spectral_distance(audio, audio * 10 ** (-6 / 20)) == pytest.approx(0.6, abs=1e-9)


def test_log_spectral_distance_against_a_direct_transform():
    first, second = np.random.default_rng(2).standard_normal((2, 50))
    k, n = np.meshgrid(np.arange(9), np.arange(16), indexing="ij")
    matrix = np.exp(-2j * np.pi * k * n / 16) * (0.5 - 0.5 * np.cos(2 * np.pi * n / 16))

    def log_power(audio: np.ndarray) -> np.ndarray:
        return np.log10([np.abs(matrix @ audio[start : start + 16]) ** 2 for start in range(0, 35, 4)])

    expected = np.sqrt(((log_power(first) - log_power(second)) ** 2).mean(axis=1)).mean()
    assert metrics.log_spectral_distance(first, second, n_fft=16, hop_length=4) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("delay", [-320, -1, 0, 1, 57, 320])
def test_delay_is_found_under_noise_and_removed(delay):
    rng = np.random.default_rng(3)
    reference = rng.standard_normal(4000)
    late = metrics.remove_delay(reference, -delay)
    noisy = late + rng.standard_normal(4000)
    assert metrics.estimate_delay_samples(reference, noisy) == delay
    assert metrics.estimate_delay_samples(reference, noisy, max_delay_samples=320) == delay
    inner = slice(abs(delay), 4000 - abs(delay))
    np.testing.assert_array_equal(metrics.remove_delay(late, delay)[inner], reference[inner])


@pytest.mark.parametrize("n_samples", [999, 1000, 1001, 1201, 4001, 5003])
@pytest.mark.parametrize("longest", [0, 7, 250, 300, 2000])
def test_delay_found_block_by_block_is_that_of_the_whole_correlation(monkeypatch, n_samples, longest):
    rng = np.random.default_rng(n_samples)
    reference, estimate = rng.standard_normal((2, n_samples))
    lags = range(-min(longest, n_samples - 1), min(longest, n_samples - 1) + 1)
    direct = [
        np.dot(
            estimate[max(0, lag) : n_samples + min(0, lag)], reference[max(0, -lag) : n_samples - max(0, lag)]
        )
        for lag in lags
    ]
    monkeypatch.setattr(metrics, "_CORRELATION_BLOCK", 500)
    found = metrics.estimate_delay_samples(reference, estimate, max_delay_samples=longest)
    assert found == lags[int(np.argmax(direct))]


def test_a_rate_that_is_no_whole_number_is_refused():
    audio = np.random.default_rng(5).standard_normal(16_000)
    with pytest.raises(SignalError, match=r"sample_rate must be a whole number of Hz.*16000\.0"):
        metrics.stoi(audio, audio, 16_000.0)  # pyright: ignore[reportArgumentType]


def test_delay_beyond_the_limit_is_not_returned():
    reference = np.random.default_rng(4).standard_normal(500)
    late = metrics.remove_delay(reference, -40)
    assert abs(metrics.estimate_delay_samples(reference, late, max_delay_samples=10)) <= 10


@pytest.mark.parametrize("delay", [-9, 9])
def test_remove_delay_longer_than_the_signal_leaves_silence(delay):
    np.testing.assert_array_equal(metrics.remove_delay(np.ones(5), delay), np.zeros(5))


def test_intelligibility_is_one_for_equal_signals_and_falls_with_noise(speech_like):
    pytest.importorskip("pystoi")
    noise = np.random.default_rng(5).standard_normal(speech_like.size)
    for metric in (metrics.stoi, metrics.estoi):
        scores = [metric(speech_like, speech_like + gain * noise, RATE) for gain in (0.0, 0.02, 0.3)]
        assert scores[0] == pytest.approx(1.0, abs=1e-6)
        assert 1 > scores[1] > scores[2] + 0.1


def test_pesq_is_at_its_ceiling_for_equal_signals_and_falls_with_noise(speech_like):
    pytest.importorskip("pesq")
    noise = np.random.default_rng(6).standard_normal(speech_like.size)
    scores = [
        metrics.pesq_wideband(speech_like, speech_like + gain * noise, RATE) for gain in (0.0, 0.003, 0.1)
    ]
    assert scores[0] == pytest.approx(4.644, abs=1e-3)  # the ceiling of the P.862.2 mapping
    assert scores[0] > scores[1] > scores[2]


def test_perceptual_metrics_resample(speech_like):
    pytest.importorskip("pesq")
    import soxr

    upsampled = soxr.resample(speech_like, RATE, 48_000)
    assert metrics.pesq_wideband(upsampled, upsampled, 48_000) == pytest.approx(4.644, abs=1e-3)


@pytest.mark.parametrize("duration_s", [0.5, 9.5, 12.3, 20.0])
def test_dnsmos_agrees_with_the_published_script(speech_like, duration_s):
    # 0.5 s is repeated, 20 s reaches the windows that the published script drops by rounding.
    reference_script = pytest.importorskip("speechmos.dnsmos")
    noise = np.random.default_rng(7).standard_normal(int(duration_s * RATE))
    audio = (np.resize(speech_like, noise.size) + 0.01 * noise).astype(np.float32)
    expected = reference_script.run(audio, RATE)
    scores = metrics.dnsmos(audio, RATE)
    assert scores == pytest.approx({key: expected[f"{key}_mos"] for key in ("ovrl", "sig", "bak")}, abs=1e-5)


def test_score_pair_gathers_what_the_metrics_return():
    reference, noise = orthogonal_pair(4000)
    scores = metrics.score_pair(reference, reference + noise, RATE, metrics=["si_sdr_db", "snr_db", "lsd"])
    assert list(scores) == ["si_sdr_db", "snr_db", "lsd"]
    assert scores["snr_db"] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(SignalError, match=r"pesq_wb.*Received: mos"):
        metrics.score_pair(reference, reference, RATE, metrics=["snr_db", "mos"])


def test_score_pair_with_dnsmos_has_its_three_scores(speech_like):
    pytest.importorskip("speechmos")
    scores = metrics.score_pair(speech_like, speech_like, RATE, metrics=["dnsmos"])
    assert list(scores) == ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
    assert scores["dnsmos_bak"] == metrics.dnsmos(speech_like, RATE)["bak"]


ONE_RATE = {
    "snr_db": metrics.snr_db,
    "si_sdr_db": metrics.si_sdr_db,
    "lsd": metrics.log_spectral_distance,
    "delay": metrics.estimate_delay_samples,
    "stoi": lambda reference, estimate: metrics.stoi(reference, estimate, RATE),
    "pesq": lambda reference, estimate: metrics.pesq_wideband(reference, estimate, RATE),
}


@pytest.mark.parametrize("metric", ONE_RATE.values(), ids=ONE_RATE)
@pytest.mark.parametrize(
    ("reference", "estimate", "message"),
    [
        (np.zeros(8000), np.ones(8000), "reference.* is silent"),
        (np.ones(8000), np.ones(7999), "8000 and 7999"),
        (np.full(8000, np.nan), np.ones(8000), "reference has NaN"),
        (np.ones(8000), np.full(8000, np.inf), "estimate has NaN or infinite"),
        (np.ones((8000, 2)), np.ones((8000, 2)), r"shape \(samples,\)"),
        (np.ones(0), np.ones(0), "not empty"),
        (np.ones(8000, np.int16), np.ones(8000), "must be floats"),
    ],
    ids=["silent", "lengths", "nan", "inf", "stereo", "empty", "integers"],
)
def test_unusable_signals_are_errors_not_nan(metric, reference, estimate, message):
    with pytest.raises(SignalError, match=message):
        metric(reference, estimate)


def test_silent_estimate_and_constant_reference_have_no_si_sdr():
    audio = np.random.default_rng(8).standard_normal(100)
    with pytest.raises(SignalError, match=r"estimate .*silent"):
        metrics.si_sdr_db(audio, np.zeros(100))
    with pytest.raises(SignalError, match=r"reference .*silent"):
        metrics.si_sdr_db(np.full(100, 0.5), audio)


def test_too_short_or_nearly_silent_references_are_errors():
    audio = np.random.default_rng(9).standard_normal(3999)
    with pytest.raises(SignalError, match="n_fft 4096"):
        metrics.log_spectral_distance(audio, audio, n_fft=4096)
    pytest.importorskip("pesq")
    with pytest.raises(SignalError, match="PESQ needs at least 4000 samples"):
        metrics.pesq_wideband(audio, audio, RATE)
    pytest.importorskip("pystoi")
    with pytest.raises(SignalError, match="STOI needs at least 6349 samples"):
        metrics.stoi(audio, audio, RATE)
    click = np.zeros(RATE)
    click[:800] = audio[:800]
    with pytest.raises(SignalError, match=r"less than 0\.4 s of speech"):
        metrics.estoi(click, click, RATE)


@pytest.mark.parametrize("package", ["pesq", "pystoi"])
def test_missing_package_names_the_extra(monkeypatch, speech_like, package):
    monkeypatch.setitem(sys.modules, package, None)
    name = {"pesq": "pesq_wb", "pystoi": "estoi"}[package]
    with pytest.raises(AudenoiseError, match=rf"{package}: pip install audenoise\[metrics\]"):
        metrics.score_pair(speech_like, speech_like, RATE, metrics=[name])


def test_pesq_refuses_what_would_crash_its_package():
    pytest.importorskip("pesq")
    noise = np.random.default_rng(10).standard_normal(61 * RATE)
    with pytest.raises(SignalError, match=r"at most 60 s.*Received: 61\.0 s"):
        metrics.pesq_wideband(noise, noise, RATE)


def test_missing_packages_are_told_by_metric(monkeypatch):
    monkeypatch.setattr(metrics, "_is_installed", lambda package: package != "pystoi")
    assert metrics.missing_packages() == {"stoi": "pystoi", "estoi": "pystoi"}
    assert metrics.missing_packages(["pesq_wb", "lsd"]) == {}


def test_a_package_that_is_blocked_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert metrics.missing_packages(["pesq_wb"]) == {"pesq_wb": "pesq"}


def test_missing_speechmos_names_the_extra(monkeypatch, speech_like):
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    metrics._dnsmos_session.cache_clear()
    with pytest.raises(AudenoiseError, match=r"speechmos: pip install audenoise\[metrics\]"):
        metrics.dnsmos(speech_like, RATE)
