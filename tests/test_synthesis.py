"""Noises made from nothing: what they are made of, that they can be repeated, that none is like the last."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise import degradation
from audenoise.mixing import rms

RATE = 16000
MADE = (degradation.tones, degradation.impacts, degradation.texture, degradation.synthetic_noise)


@pytest.mark.parametrize("make", MADE)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 3 * RATE), rate=st.sampled_from([8000, 16000, 48000]))
def test_any_length_and_rate_comes_with_unit_rms(make: Callable, seed: int, n: int, rate: int) -> None:
    audio = make(np.random.default_rng(seed), n, rate)
    assert audio.shape == (n,)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert rms(audio) == pytest.approx(1.0, rel=1e-3) or n < 4
    np.testing.assert_array_equal(make(np.random.default_rng(seed), n, rate), audio)


@pytest.mark.parametrize("make", MADE)
def test_no_two_are_alike(make: Callable) -> None:
    made = [make(np.random.default_rng(seed), RATE, RATE) for seed in range(12)]
    likeness = np.abs(np.corrcoef([np.log(np.abs(np.fft.rfft(audio)) + 1e-6) for audio in made]))
    assert len({audio.tobytes() for audio in made}) == 12
    assert np.median(likeness[np.triu_indices(12, 1)]) < 0.9


def flatness(audio: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power of frames of 32 ms: .56 for white noise, 0 for a tone."""
    frames = np.abs(np.fft.rfft(audio[: audio.size // 512 * 512].reshape(-1, 512) * np.hanning(512))) ** 2
    return float(np.mean(np.exp(np.log(frames + 1e-12).mean(-1)) / (frames.mean(-1) + 1e-12)))


def crest(audio: np.ndarray) -> float:
    """How far the loudest 10 ms stand above the mean, in dB."""
    power = np.square(audio[: audio.size // 160 * 160].reshape(-1, 160)).mean(-1)
    return float(10 * np.log10(power.max() / power.mean()))


def test_each_is_what_its_name_says() -> None:
    made = {
        make.__name__: [make(np.random.default_rng(seed), 3 * RATE, RATE) for seed in range(30)]
        for make in MADE
    }
    flat = {name: np.median([flatness(audio) for audio in audios]) for name, audios in made.items()}
    peaks = {name: np.median([crest(audio) for audio in audios]) for name, audios in made.items()}
    assert flat["tones"] < 0.1
    assert flat["impacts"] > 2 * flat["tones"]
    assert peaks["impacts"] > peaks["texture"] + 4
