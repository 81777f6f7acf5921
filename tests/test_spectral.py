"""The transforms against direct computation, librosa and round trips."""

from itertools import pairwise

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise import spectral
from audenoise.errors import SignalError

SIZES = [
    {"n_fft": 512, "hop_length": 256, "win_length": 512, "window": "sqrt_hann"},
    {"n_fft": 512, "hop_length": 100, "win_length": 400, "window": "hann"},
    {
        "n_fft": 64,
        "hop_length": 24,
        "win_length": 50,
        "window": "hamming",
    },  # the hop doesn't divide the window
    {"n_fft": 16, "hop_length": 16, "win_length": 16, "window": "rectangular"},
]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_stft_is_the_dft_of_windowed_frames():
    audio = noise(90)
    n_fft, hop, win = 32, 10, 24
    spectrum = spectral.stft(audio, n_fft=n_fft, hop_length=hop, win_length=win, window="hann")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
    assert spectrum.shape == (17, 11)  # ceil((90 + 24 - 10) / 10)
    assert spectrum.dtype == np.complex64
    for k in range(11):
        for f in range(17):
            total = 0
            for i in range(win):
                t = k * hop - (win - hop) + i
                if 0 <= t < 90:
                    total += window[i] * audio[t] * np.exp(-2j * np.pi * f * i / n_fft)
            assert abs(spectrum[f, k] - total) < 1e-5


def test_stft_agrees_with_librosa():
    audio = noise(5000)
    ours = spectral.stft(audio, n_fft=512, hop_length=128, window="hann")
    padded = np.pad(audio, (384, 512))
    theirs = librosa.stft(padded, n_fft=512, hop_length=128, window="hann", center=False)
    np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=1e-4)


@pytest.mark.parametrize("sizes", SIZES)
def test_every_sample_is_recovered(sizes):
    hop, win = sizes["hop_length"], sizes["win_length"]
    for n_samples in (1, 2, max(1, hop - 1), hop, win, win + 1, 12345):
        audio = noise(n_samples)
        spectrum = spectral.stft(audio, **sizes)
        assert spectrum.shape[1] == int(np.ceil((n_samples + win - hop) / hop))
        again = spectral.istft(spectrum, n_samples=n_samples, **sizes)
        assert again.dtype == np.float32
        assert np.abs(again - audio).max() < 1e-5


def test_istft_is_least_squares():
    # The gradient of |stft(x) - Y|^2 over the frames' samples vanishes at x = istft(Y).
    sizes = {"n_fft": 32, "hop_length": 8, "win_length": 24, "window": "hann"}
    target = noise(17, 15) + 1j * noise(17, 15, seed=1)

    def cost(audio):
        frames = np.fft.irfft(spectral.stft(audio, **sizes), 32, axis=0)[:24]
        return np.sum((frames - np.fft.irfft(target, 32, axis=0)[:24]) ** 2)

    best = spectral.istft(target.astype(np.complex128), n_samples=100, **sizes)
    for seed in range(3):
        step = 1e-3 * noise(100, seed=seed).astype(np.float64)
        assert abs(cost(best + step) - cost(best - step)) < 1e-9 * cost(best)
        assert cost(best + step) > cost(best)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.sampled_from(SIZES),
    n_samples=st.integers(1, 3000),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_streams_equal_their_offline_twins(sizes, n_samples, channels, seed):
    rng = np.random.default_rng(seed)
    audio = noise(channels, n_samples, seed=seed)
    expected = spectral.stft(audio, **sizes)
    analysis = spectral.StreamingStft(**sizes, batch_shape=(channels,))
    synthesis = spectral.StreamingIstft(**sizes, batch_shape=(channels,))
    for _ in range(2):  # the second round shows that flush starts afresh
        spectra, samples, position = [], [], 0
        while position < n_samples:
            size = int(rng.integers(0, 700))
            spectra.append(analysis.process(audio[:, position : position + size]))
            samples.append(synthesis.process(spectra[-1]))
            position += size
        spectra.append(analysis.flush())
        samples.append(synthesis.flush(spectra[-1], n_samples=n_samples))
        got, again = np.concatenate(spectra, axis=-1), np.concatenate(samples, axis=-1)
        assert got.dtype == np.complex64
        assert again.dtype == np.float32
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max()
        offline = spectral.istft(expected, n_samples=n_samples, **sizes)
        assert again.shape == offline.shape
        assert np.abs(again - offline).max() < 1e-6 * max(1, np.abs(audio).max())
        assert np.abs(again - audio).max() < 1e-5


def test_streaming_delay_is_one_window():
    # The sample at the start of a window comes out with the block that completes the window, not later.
    analysis = spectral.StreamingStft(n_fft=512, hop_length=256)
    synthesis = spectral.StreamingIstft(n_fft=512, hop_length=256)
    sent = [synthesis.process(analysis.process(noise(256))).shape[-1] for _ in range(4)]
    assert sent == [0, 256, 256, 256]


def test_bad_sizes_and_signals_are_refused():
    with pytest.raises(SignalError, match="hop_length"):
        spectral.stft(noise(10), n_fft=8, hop_length=9)
    with pytest.raises(SignalError, match="sqrt_hann"):
        spectral.stft(noise(10), n_fft=8, hop_length=4, window="kaiser")
    with pytest.raises(SignalError, match="at least 1 sample"):
        spectral.stft(noise(0), n_fft=8, hop_length=4)
    with pytest.raises(SignalError, match="NaN"):
        spectral.stft(np.array([0, np.nan], np.float32), n_fft=8, hop_length=4)
    with pytest.raises(SignalError, match="inverted"):  # Hann windows without overlap begin at zero
        spectral.istft(np.ones((5, 2), complex), n_samples=16, n_fft=8, hop_length=8, window="hann")
    with pytest.raises(SignalError, match="must be"):
        spectral.istft(np.ones((5, 3), complex), n_samples=100, n_fft=8, hop_length=4)
    with pytest.raises(SignalError, match="Pass all frames"):
        spectral.StreamingIstft(n_fft=8, hop_length=4).flush(n_samples=100)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "fmin_hz", "fmax_hz"),
    [(16000, 512, 40, 0.0, None), (48000, 2048, 128, 50.0, 14000.0), (22050, 1024, 80, 0.0, 8000.0)],
)
def test_mel_filterbank_agrees_with_librosa(sample_rate, n_fft, n_mels, fmin_hz, fmax_hz):
    ours = spectral.mel_filterbank(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin_hz=fmin_hz, fmax_hz=fmax_hz
    )
    theirs = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz)
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * theirs.max())


def test_mel_inverse_reproduces_the_mel_spectrogram():
    power = np.abs(spectral.stft(noise(1000), n_fft=512, hop_length=128, window="hann")) ** 2
    filterbank = spectral.mel_filterbank(sample_rate=16000, n_fft=512, n_mels=40)
    mel = spectral.mel_spectrogram(power, filterbank)
    estimate = spectral.mel_to_spectrogram(mel, filterbank)
    assert estimate.dtype == np.float32
    assert estimate.min() >= 0
    error = np.linalg.norm(spectral.mel_spectrogram(estimate, filterbank) - mel) / np.linalg.norm(mel)
    assert error < 1e-3
    silent = spectral.mel_to_spectrogram(np.zeros_like(mel), filterbank)
    assert np.abs(silent).max() < 1e-6
    with pytest.raises(SignalError, match="n_mels=200"):
        spectral.mel_filterbank(sample_rate=16000, n_fft=256, n_mels=200)


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e6)), min_size=1, max_size=20))
def test_db_scaling_has_an_exact_inverse(values):
    amplitude = np.array(values)
    level = spectral.amplitude_to_db(amplitude)
    assert np.isfinite(level).all()
    np.testing.assert_allclose(spectral.db_to_amplitude(level), amplitude, rtol=1e-12, atol=0)
    single = amplitude.astype(np.float32)
    again = spectral.db_to_amplitude(spectral.amplitude_to_db(single))
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, single, rtol=1e-5, atol=0)


def test_db_closed_forms():
    np.testing.assert_allclose(
        spectral.amplitude_to_db(np.array([1.0, 10.0, 0.5])), [0, 20, -6.0206], atol=1e-4
    )
    assert spectral.amplitude_to_db(np.array([1e-5]), floor_db=-80.0) == -80.0


def test_griffin_lim_converges():
    sizes = {"n_fft": 512, "hop_length": 128, "window": "hann"}
    time = np.arange(8000) / 16000
    audio = (np.sin(2 * np.pi * (200 * time + 800 * time**2)) + 0.1 * noise(8000)).astype(np.float32)
    magnitude = np.abs(spectral.stft(audio, **sizes))

    def error(n_iterations, momentum):
        found = spectral.griffin_lim(
            magnitude, n_samples=8000, n_iterations=n_iterations, momentum=momentum, **sizes
        )
        assert found.shape == audio.shape
        return np.linalg.norm(np.abs(spectral.stft(found, **sizes)) - magnitude) / np.linalg.norm(magnitude)

    plain = [error(n, 0.0) for n in (0, 1, 4, 16, 64)]
    assert all(later < earlier for earlier, later in pairwise(plain))
    fast = [error(n, 0.99) for n in (0, 16, 64)]
    assert fast[0] == plain[0]  # random phase
    assert fast[2] < fast[1] < 0.5 * fast[0]
    assert fast[2] < plain[-1]
