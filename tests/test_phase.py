"""Griffin-Lim in blocks: against the whole-signal algorithm, the true signal, and itself."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from model_folders import gain_model
from recordings import voice

from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError
from audenoise.phase import PhaseStream
from audenoise.presets import load_preset, write_metadata
from audenoise.spectral import griffin_lim, istft, stft

SIZES = {"n_fft": 512, "hop_length": 128, "win_length": 512, "window": "hann"}
BLOCK = 40


def spectra(seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Two voices: samples (2, n) and spectra (2, bins, frames)."""
    audio = np.stack([voice(seconds, 8000, seed=1), voice(seconds, 8000, seed=2)])
    return audio, stft(audio, **SIZES)


def run(spectrum: np.ndarray, cuts: tuple[int, ...] = (), *, block: int = BLOCK) -> np.ndarray:
    stream = PhaseStream(**SIZES, channels=len(spectrum), block_frames=block)
    edges = [0, *cuts, spectrum.shape[2]]
    parts = [stream.process(spectrum[..., a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([*parts, stream.flush()], axis=2)


def inconsistency_db(spectrum: np.ndarray, magnitude: np.ndarray, n_samples: int) -> float:
    """How far the magnitudes of the signal that comes out are from those wanted."""
    again = np.abs(stft(istft(spectrum, n_samples=n_samples, **SIZES), **SIZES))
    return 20 * float(np.log10(np.linalg.norm(again - magnitude) / np.linalg.norm(magnitude)))


def other_phase(spectrum: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    turn = np.random.default_rng(seed).uniform(-np.pi, np.pi, spectrum.shape) * amount
    return (spectrum * np.exp(1j * turn)).astype(np.complex64)


def test_a_true_spectrum_stays_as_it_is() -> None:
    audio, spectrum = spectra()
    found = run(spectrum)
    np.testing.assert_allclose(found, spectrum, atol=1e-3 * np.abs(spectrum).max())
    np.testing.assert_allclose(istft(found, n_samples=audio.shape[1], **SIZES), audio, atol=1e-3)


def test_magnitudes_are_kept_and_fit_better_than_before() -> None:
    audio, spectrum = spectra()
    magnitude, n_samples = np.abs(spectrum), audio.shape[1]
    start = other_phase(spectrum, 0.7)
    found = run(start)
    np.testing.assert_allclose(np.abs(found), magnitude, rtol=1e-4, atol=1e-5)
    before, after = (inconsistency_db(part, magnitude, n_samples) for part in (start, found))
    whole = griffin_lim(magnitude, n_samples=n_samples, **SIZES)
    as_whole = 20 * np.log10(
        np.linalg.norm(np.abs(stft(whole, **SIZES)) - magnitude) / np.linalg.norm(magnitude)
    )
    assert after < before - 6
    assert after < as_whole + 3, "blocks cost little against the whole signal at once"


def test_the_output_does_not_depend_on_how_the_frames_arrive() -> None:
    _, spectrum = spectra()
    noisy = other_phase(spectrum, 0.5)
    whole = run(noisy)
    for cuts in ((1, 2, 3, 50), (41,), tuple(range(7, spectrum.shape[2], 7))):
        np.testing.assert_array_equal(run(noisy, cuts), whole)


@pytest.mark.parametrize("n_frames", [1, 3, 4, 7, BLOCK, BLOCK + 8, 2 * BLOCK + 9])
def test_all_frames_come_out_whatever_their_number(n_frames: int) -> None:
    spectrum = other_phase(spectra()[1], 0.5)[..., :n_frames]
    found = run(spectrum)
    assert found.shape == spectrum.shape
    np.testing.assert_allclose(np.abs(found), np.abs(spectrum), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run(0 * spectrum), 0 * spectrum)


def test_the_delay_and_the_memory_are_bounded() -> None:
    stream = PhaseStream(**SIZES, channels=1, block_frames=BLOCK)
    spectrum = other_phase(spectra(4.0)[1][:1], 0.5)
    received = sent = 0
    for k in range(spectrum.shape[2]):
        sent += stream.process(spectrum[..., k : k + 1]).shape[2]
        received += 1
        assert received - sent <= stream.delay_frames
        assert stream._frames.shape[2] <= BLOCK + 2 * stream._context
    assert stream.flush().shape[2] == received - sent
    assert stream.process(spectrum[..., :0]).shape == (1, 257, 0)


def griffin_lim_model(folder: Path) -> Denoiser:
    """Halves every level and finds new phases."""
    preset = gain_model(folder, 0.5)
    metadata = {
        key: value for key, value in preset.metadata.items() if key not in ("files", "format_version")
    }
    write_metadata(folder, {**metadata, "phase": "griffin_lim"})
    return Denoiser.from_preset(folder)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (8000, 2)])
def test_a_model_with_griffin_lim_denoises_any_signal_in_blocks(
    rate: int, channels: int, tmp_path: Path
) -> None:
    denoiser = griffin_lim_model(tmp_path / "model")
    audio = np.stack([voice(5.3, rate, seed=k) for k in range(channels)], axis=1)
    denoised = denoiser.denoise(audio, rate)
    # Half of a true spectrum is one, so the phases stay as they are.
    np.testing.assert_allclose(denoised, 0.5 * audio, atol=2e-3)
    stream = denoiser.stream(rate, channels)
    parts = [stream.process(audio[start : start + 999]) for start in range(0, len(audio), 999)]
    received = np.cumsum([min(999, len(audio) - start) for start in range(0, len(audio), 999)])
    behind = received - np.cumsum([len(part) for part in parts])
    assert behind.max() <= stream.latency_samples + 999 + rate // 10
    np.testing.assert_allclose(np.concatenate([*parts, stream.flush()]), denoised, atol=1e-5)
    silence = np.zeros((3 * rate, channels), np.float32)
    np.testing.assert_array_equal(denoiser.denoise(silence, rate), silence)


def test_an_unknown_phase_is_named(tmp_path: Path) -> None:
    griffin_lim_model(tmp_path / "model")
    path = tmp_path / "model" / "metadata.json"
    path.write_text(path.read_text().replace("griffin_lim", "guess"))
    with pytest.raises(ModelError, match=r"phase: must be one of network, griffin_lim\. Received: 'guess'"):
        load_preset(tmp_path / "model")
