"""Mel distance, the distance in a band and the error of pitch, against signals whose answer is known."""

import numpy as np
import pytest
from recordings import hiss, voice

from audenoise.degradation import filter_band
from audenoise.enhancement_metrics import band_log_spectral_distance, mel_distance, pitch_error
from audenoise.errors import SignalError
from audenoise.metrics import log_spectral_distance

RATE = 48000
MEASURES = (
    lambda a, b: mel_distance(a, b, RATE),
    lambda a, b: band_log_spectral_distance(a, b, RATE, low_hz=8000),
    lambda a, b: pitch_error(a, b, RATE)["voicing_error"],
)


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_signals_are_not_apart(measure) -> None:
    audio = voice(1, RATE, seed=1)
    assert measure(audio, audio) == 0


def test_mel_distance_is_the_gain_and_grows_with_what_is_cut() -> None:
    audio = hiss(1, RATE, seed=0)
    for gain_db in (-6.0, 3.0):
        assert mel_distance(audio, audio * 10 ** (gain_db / 20), RATE) == pytest.approx(
            abs(gain_db), rel=1e-3
        )
    settings = {"family": "elliptic", "order": 8, "high_pass_hz": 0.0, "zero_phase": True}
    cut = [
        mel_distance(audio, filter_band(audio, RATE, cutoff_hz=cutoff, **settings), RATE)
        for cutoff in (12000.0, 6000.0, 3000.0)
    ]
    assert 2 < cut[0] < cut[1] < cut[2]
    silent = mel_distance(audio, np.zeros_like(audio), RATE)
    assert silent == pytest.approx(80 + 20 * np.log10(0.1), abs=1)  # from -20 dB to the floor


def test_a_band_is_measured_alone() -> None:
    audio = hiss(1, RATE, seed=0)
    spectrum = np.fft.rfft(audio)
    spectrum[8000:] *= 10
    louder_above = np.fft.irfft(spectrum, audio.size)
    above = band_log_spectral_distance(audio, louder_above, RATE, low_hz=8500)
    below = band_log_spectral_distance(audio, louder_above, RATE, low_hz=0, high_hz=7500)
    assert above == pytest.approx(2.0, rel=1e-3)
    assert below < 0.02
    whole = band_log_spectral_distance(audio, louder_above, RATE, low_hz=0)
    assert whole == pytest.approx(log_spectral_distance(audio, louder_above), rel=1e-9)


def test_pitch_error_in_cents_and_its_gross_and_voicing_shares() -> None:
    time = np.arange(RATE) / RATE

    def sung(frequency: np.ndarray | float) -> np.ndarray:
        phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, RATE)) / RATE
        return 0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 9)], axis=0)

    true = sung(150.0)
    found = pitch_error(true, sung(150 * 2 ** (50 / 1200)), RATE)
    assert found["f0_cents"] == pytest.approx(50, abs=2)
    assert found["f0_gross"] == 0
    half_off = pitch_error(true, sung(np.where(time < 0.5, 150.0, 210.0)), RATE)
    assert half_off["f0_gross"] == pytest.approx(0.5, abs=0.05)
    half_silent = pitch_error(true, true * (time < 0.7), RATE)
    assert half_silent["voicing_error"] == pytest.approx(0.3, abs=0.04)
    hoarse = pitch_error(true, hiss(1, RATE, seed=0), RATE)
    assert hoarse["voicing_error"] > 0.9


@pytest.mark.parametrize("measure", MEASURES)
def test_what_cannot_be_compared_is_refused(measure) -> None:
    audio = hiss(0.2, RATE, seed=0)
    for reference, estimate, message in (
        (audio, audio[1:], "must have one length"),
        (np.zeros_like(audio), audio, "reference is silent"),
        (audio, np.full_like(audio, np.inf), "infinite"),
    ):
        with pytest.raises(SignalError, match=message):
            measure(reference, estimate)


def test_too_short_audio_and_an_empty_band_are_refused() -> None:
    audio = hiss(0.1, RATE, seed=0)
    with pytest.raises(SignalError, match=r"needs 0\.04 s"):
        mel_distance(audio[:100], audio[:100], RATE)
    with pytest.raises(SignalError, match="no bin lies"):
        band_log_spectral_distance(audio, audio, RATE, low_hz=30000)
    with pytest.raises(SignalError, match="with n_fft 2048 needs at least 2048"):
        band_log_spectral_distance(audio[:100], audio[:100], RATE, low_hz=0)
