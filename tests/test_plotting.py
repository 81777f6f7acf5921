"""Pictures: what they show is measured on the arrays drawn, and the files are read back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from matplotlib.figure import Figure
from matplotlib.image import imread

from audenoise import plotting
from audenoise.errors import AudenoiseError, AudioFileError, DataError, SignalError

RATE = 16_000


def sine(frequency_hz: float, duration_s: float, *, peak: float = 1.0) -> np.ndarray:
    return peak * np.sin(2 * np.pi * frequency_hz * np.arange(int(duration_s * RATE)) / RATE)


def drawn(audio: np.ndarray, **options: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """The levels that a spectrogram shows and its colour limits."""
    image = plotting.plot_spectrogram(Figure().subplots(), audio, RATE, **options)
    return np.asarray(image.get_array()), image.get_clim()


@pytest.mark.parametrize("peak_db", [0.0, -40.0])
def test_a_sine_shows_its_level_at_its_frequency(peak_db):
    levels, limits = drawn(sine(2000, 1.0, peak=10 ** (peak_db / 20)))
    column = levels[:, levels.shape[1] // 2]
    assert column.argmax() == round(2000 * 0.032)  # the bins of a 32 ms window are 31.25 Hz apart
    assert column.max() == pytest.approx(peak_db, abs=0.01)
    assert limits == (peak_db - 80, peak_db)


def test_a_click_shows_at_its_time():
    audio = np.zeros(2 * RATE)
    audio[RATE // 2] = 1.0
    levels, _ = drawn(audio)
    assert levels.max(axis=0).argmax() == pytest.approx(levels.shape[1] / 4, abs=1)


def test_every_channel_counts():
    stereo = np.stack([np.zeros(RATE), sine(1000, 1.0)], axis=1)
    levels, _ = drawn(stereo)
    assert levels.max() == pytest.approx(-10 * np.log10(2), abs=0.01)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 511, 512, 513, 20_000])
def test_any_length_is_drawn_without_nan(n_samples):
    levels, _ = drawn(np.ones(n_samples))
    assert np.isfinite(levels).all()
    assert levels.max() > -70  # an edge frame sees a single sample: 1/256 of the window's sum


def test_silence_has_finite_limits():
    levels, limits = drawn(np.zeros(RATE))
    assert limits == (-80.0, 0.0)
    assert np.isfinite(levels).all()


def test_blocks_give_the_levels_of_the_whole():
    audio = np.random.default_rng(0).standard_normal((50_000, 2)) * 0.1
    whole = plotting._level_spectrogram([audio], len(audio), RATE).level_db
    blocks = np.split(audio, [1, 700, 701, 33_000])
    np.testing.assert_array_equal(plotting._level_spectrogram(blocks, len(audio), RATE).level_db, whole)


def test_a_long_recording_is_thinned_but_keeps_its_levels_and_times():
    # 10 minutes: noise at -40 dB per bin, a loud tone in the second half.
    duration_s = 600
    rng = np.random.default_rng(1)

    def blocks():
        for second in range(duration_s):
            yield (rng.standard_normal(RATE) * 0.01 + sine(3000, 1.0, peak=0.5 * (second >= 300)))[
                :, np.newaxis
            ]

    spectrogram = plotting._level_spectrogram(blocks(), duration_s * RATE, RATE)
    assert spectrogram.level_db.shape[1] == plotting._MAX_COLUMNS
    tone = spectrogram.level_db[96]
    assert np.median(tone[801:]) == pytest.approx(-6.02, abs=0.1)
    assert tone[:799].max() < -20
    # White noise of power s² has the mean |X|² = s²·sum(w²) in each bin; the 0 dB sine has (sum(w)/2)².
    window = np.hanning(513)[:-1]
    expected = 10 * np.log10(1e-4 * np.sum(window**2) / (window.sum() / 2) ** 2)
    power = 10 ** (spectrogram.level_db[10:80, :799] / 10)
    assert 10 * np.log10(power.mean()) == pytest.approx(expected, abs=0.1)


def test_waveform_spans_the_extremes():
    axes = Figure().subplots()
    audio = np.zeros((100_000, 2))
    audio[33_333, 1] = -0.8
    plotting.plot_waveform(axes, audio, RATE)
    vertices = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    lowest = vertices[vertices[:, 1].argmin()]
    assert lowest[1] == -0.8
    assert lowest[0] == pytest.approx(33_333 / RATE, abs=100_000 / 1600 / RATE)
    assert axes.get_ylim() == pytest.approx((-0.84, 0.84))


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 2, 2)), np.float64(1)])
def test_unusable_audio_is_refused(audio):
    for draw in (plotting.plot_spectrogram, plotting.plot_waveform):
        with pytest.raises(SignalError, match="Received"):
            draw(Figure().subplots(), audio, RATE)


@pytest.fixture
def recordings(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "noisy $x_1^2$ 音.wav", tmp_path / "denoised.flac"
    sf.write(paths[0], sine(1000, 2.0, peak=0.5), RATE)
    sf.write(paths[1], np.stack([sine(1000, 2.0, peak=0.05)] * 2, axis=1), RATE)
    return paths


@pytest.mark.filterwarnings("error")
def test_before_after_draws_both_on_one_scale(recordings, tmp_path):
    target = tmp_path / "plot.png"
    plotting.save_before_after(recordings[0], recordings[1], target)
    picture = imread(target)
    assert picture.shape[0] > 900
    assert picture.shape[1] > 1400
    middle = picture[:, 600, :3].sum(axis=1)
    before, after = middle[: len(middle) // 2], middle[len(middle) // 2 :]

    def brightest_coloured(column: np.ndarray) -> float:
        return column[column < 2.99].max()  # not the white of the paper

    # The same tone, 20 dB lower on the same scale, is darker.
    assert brightest_coloured(before[100:-100]) > brightest_coloured(after[100:-100]) + 0.3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["plot.png", *(p.name for p in recordings)]
    )


def test_before_after_reports_what_is_missing(recordings, tmp_path):
    with pytest.raises(AudioFileError, match=r"absent\.wav"):
        plotting.save_before_after(recordings[0], tmp_path / "absent.wav", tmp_path / "plot.png")
    with pytest.raises(AudenoiseError, match=r"plot\.png: the picture can't be written"):
        plotting.save_before_after(recordings[0], recordings[1], tmp_path / "no" / "plot.png")


def test_training_curves_are_written_in_place_of_an_older_picture(tmp_path):
    log, target = tmp_path / "log.csv", tmp_path / "curves.png"
    log.write_text("epoch,loss,val_loss,learning_rate\n0,1.0,1.2,1e-3\n1,0.5,,5e-4\n2,nan,0.7,1e-4\n")
    target.write_bytes(b"old")
    plotting.plot_training_curves(log, target)
    assert imread(target).ndim == 3


@pytest.mark.parametrize("content", [None, "", "epoch,loss\n", "epoch,note\n1,none\n"])
def test_training_log_without_numbers_is_a_data_error(tmp_path, content):
    log = tmp_path / "log.csv"
    if content is not None:
        log.write_text(content)
    with pytest.raises(DataError, match=r"log\.csv"):
        plotting.plot_training_curves(log, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_importing_leaves_pyplot_and_its_backend_alone():
    code = "import sys, audenoise.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
