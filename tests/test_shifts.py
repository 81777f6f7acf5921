"""The mean of several runs whose frames begin at different samples."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from recordings import hiss, voice

from audenoise.batch import denoise_file
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.errors import SignalError
from audenoise.metrics import si_sdr_db

RATE = 16000


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.from_preset("small", threads=1)


def delayed(denoiser: Denoiser, audio: np.ndarray, rate: int, samples: int) -> np.ndarray:
    """What one run makes of a signal that begins later."""
    padding = np.zeros((samples, *audio.shape[1:]), audio.dtype)
    return denoiser.denoise(np.concatenate([padding, audio]), rate)[samples:]


@pytest.mark.parametrize(("rate", "channels"), [(RATE, None), (44100, 2), (11025, 1)])
@pytest.mark.parametrize("shifts", [2, 3])
def test_it_is_the_mean_of_runs_at_parts_of_a_hop(
    denoiser: Denoiser, rate: int, channels: int | None, shifts: int
) -> None:
    mono = (voice(2.0, rate, seed=0) + 0.2 * hiss(2.0, rate, seed=1)).astype(np.float32)
    audio = mono if channels is None else np.stack([mono, -0.3 * mono[::-1]][:channels], axis=1)
    found = denoiser.denoise(audio, rate, shifts=shifts)
    hop_s = denoiser.preset.stft.hop_length / denoiser.preset.sample_rate
    runs = [delayed(denoiser, audio, rate, round(i * hop_s * rate / shifts)) for i in range(shifts)]
    assert found.shape == audio.shape
    np.testing.assert_allclose(found, np.mean(runs, axis=0), atol=2e-6)
    assert np.abs(found - runs[0]).max() > 1e-3 * np.abs(found).max()


def test_its_errors_are_smaller_than_those_of_its_runs(denoiser: Denoiser) -> None:
    """On the mean of several signals, as it is noise that the mean takes away."""
    one, mean = [], []
    for seed in range(4):
        clean = voice(3.0, RATE, seed=seed)
        noisy = (clean + 0.3 * hiss(3.0, RATE, seed=9 + seed)).astype(np.float32)
        one.append(si_sdr_db(clean, denoiser.denoise(noisy, RATE)))
        mean.append(si_sdr_db(clean, denoiser.denoise(noisy, RATE, shifts=2)))
    assert np.mean(mean) > np.mean(one)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_any_pieces_give_the_same(denoiser: Denoiser, dtype: type) -> None:
    audio = 2.5 * (voice(2.0, RATE, seed=2) + 0.2 * hiss(2.0, RATE, seed=3))
    audio = (audio * 2**13).astype(dtype) if dtype is np.int16 else audio.astype(dtype)
    peak = 1.0 if dtype is np.int16 else float(np.abs(audio).max())
    stream = denoiser.whole_stream(RATE, shifts=2, peak=peak)
    for _ in range(2):  # as new after its end
        sizes, parts, start = np.random.default_rng(0), [], 0
        while start < len(audio):
            size = int(sizes.integers(0, 3000))
            parts.append(stream.process(audio[start : start + size]))
            start += size
        parts.append(stream.flush())
        np.testing.assert_allclose(
            np.concatenate(parts), denoiser.denoise(audio, RATE, shifts=2), atol=1e-5 * peak
        )


@pytest.mark.parametrize("samples", [1, 100, 129])
def test_short_signals(denoiser: Denoiser, samples: int) -> None:
    audio = np.full(samples, 0.1, np.float32)
    assert denoiser.denoise(audio, RATE, shifts=4).shape == (samples,)


@pytest.mark.parametrize("shifts", [0, 9, 1.5, True, "2"])
def test_numbers_that_make_no_sense_are_refused(denoiser: Denoiser, shifts: object) -> None:
    with pytest.raises(SignalError, match=r"shifts must be a whole number from 1 to 8\. Received"):
        denoiser.denoise(np.zeros(100, np.float32), RATE, shifts=shifts)  # pyright: ignore[reportArgumentType]


def test_bad_samples_are_named_and_leave_the_stream_usable(denoiser: Denoiser) -> None:
    audio = (0.3 * voice(1.0, RATE, seed=4)).astype(np.float32)
    stream = denoiser.whole_stream(RATE, shifts=2)
    with pytest.raises(SignalError, match="sample 7 is NaN"):
        stream.process(np.where(np.arange(20) == 7, np.nan, 0.0))
    with pytest.raises(SignalError, match=r"takes \(samples, 1\)"):
        stream.process(np.zeros((20, 2)))
    found = np.concatenate([stream.process(audio), stream.flush()])
    np.testing.assert_allclose(found, denoiser.denoise(audio, RATE, shifts=2), atol=1e-6)
    assert stream.flush().shape == (0,)


def test_files(denoiser: Denoiser, tmp_path: Path) -> None:
    audio = (0.3 * voice(2.0, RATE, seed=5) + 0.05 * hiss(2.0, RATE, seed=6)).astype(np.float32)
    sf.write(tmp_path / "in.wav", audio, RATE, subtype="FLOAT")
    arguments = ["predict", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav"), "--model", "small"]
    assert main([*arguments, "--shifts", "2"]) == 0
    expected = denoiser.denoise(audio, RATE, shifts=2)
    np.testing.assert_allclose(sf.read(tmp_path / "out.wav", dtype="float32")[0], expected, atol=1e-6)
    denoise_file(denoiser, tmp_path / "in.wav", tmp_path / "again.wav", shifts=2)
    np.testing.assert_allclose(sf.read(tmp_path / "again.wav", dtype="float32")[0], expected, atol=1e-6)


def test_too_many_are_refused_before_any_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "in.wav", np.zeros(100), RATE)
    assert main(["predict", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav"), "--shifts", "9"]) != 0
    assert "shifts must be a whole number from 1 to 8" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()
