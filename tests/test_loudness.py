"""The loudness distance follows what can be heard."""

import numpy as np
import pytest

from audenoise.layers import SpectralTransform, to_numpy
from audenoise.loudness import bark, bark_bands, hearing_threshold_db, loudness_distance

RATE = 16_000
TRANSFORM = SpectralTransform(n_fft=512, hop_length=256, win_length=512, window="sqrt_hann")


def tone(frequency_hz: float, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(RATE) / RATE)


def distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    spectra = (TRANSFORM.stft(audio[None].astype(np.float32)) for audio in (reference, estimate))
    return float(to_numpy(loudness_distance(*spectra, sample_rate=RATE, n_fft=512))[0])


def test_the_scales_are_those_of_the_books() -> None:
    # Zwicker's critical bands: 1000 Hz lies at 8.5 Bark, 4000 Hz at 17.25.
    np.testing.assert_allclose(bark([0, 1000, 4000]), [0, 8.5, 17.25], atol=0.4)
    # Terhardt's threshold: 3.4 dB at 1 kHz, lowest between 3 and 4 kHz.
    assert hearing_threshold_db(1000.0) == pytest.approx(3.4, abs=0.1)
    grid = np.geomspace(50, 8000, 500)
    assert 3000 < grid[hearing_threshold_db(grid).argmin()] < 4000


@pytest.mark.parametrize(("rate", "n_fft"), [(8000, 256), (16_000, 512), (48_000, 1536)])
def test_bands_share_out_every_bin_once(rate: int, n_fft: int) -> None:
    bands = bark_bands(rate, n_fft)
    width = bark(rate / 2) / bands.shape[1]
    np.testing.assert_allclose(bands.sum(1) * width, 1, rtol=1e-5)
    assert (bands >= 0).all()


def test_what_cannot_be_heard_counts_nothing() -> None:
    speech = np.sum([tone(f, 20 / f) for f in range(200, 4000, 200)], axis=0)
    assert distance(speech, speech) == pytest.approx(0, abs=1e-3)
    assert distance(speech, speech * 1.05) == pytest.approx(0, abs=1e-2), "a level is heard from 1 dB on"
    assert distance(speech, -speech) == pytest.approx(0, abs=1e-3), "nor a sign"
    assert distance(np.zeros(RATE), speech) == 0, "without a reference there is nothing to compare"
    hidden, heard = speech + tone(1010, 0.002), speech + tone(6500, 0.002)
    assert distance(speech, hidden) < 0.1 * distance(speech, heard)


def test_more_noise_is_worse_and_added_sound_worse_than_missing_sound() -> None:
    rng = np.random.default_rng(5)
    syllables = np.repeat(rng.uniform(0.05, 1, 20), 800)
    speech, noise = syllables * rng.standard_normal((2, RATE)) * 0.1
    steps = [distance(speech, speech + gain * noise) for gain in (0.1, 0.3, 1.0)]
    assert steps == sorted(steps)
    assert steps[0] < 0.5 * steps[-1]
    quiet = np.where(np.arange(RATE) < RATE // 2, 1.0, 0.01)  # the second half is nearly silent
    assert distance(speech * quiet, speech) > 1.5 * distance(speech, speech * quiet)
    assert distance(0.1 * speech, 0.1 * (speech + noise)) == pytest.approx(steps[-1], rel=1e-3)
