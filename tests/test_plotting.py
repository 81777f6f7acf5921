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
from audenoise.plotting import levels

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
    whole = levels.level_spectrogram([audio], len(audio), RATE).level_db
    blocks = np.split(audio, [1, 700, 701, 33_000])
    np.testing.assert_array_equal(levels.level_spectrogram(blocks, len(audio), RATE).level_db, whole)


def test_a_long_recording_is_thinned_but_keeps_its_levels_and_times():
    # 10 minutes: noise at -40 dB per bin, a loud tone in the second half.
    duration_s = 600
    rng = np.random.default_rng(1)

    def blocks():
        for second in range(duration_s):
            yield (rng.standard_normal(RATE) * 0.01 + sine(3000, 1.0, peak=0.5 * (second >= 300)))[
                :, np.newaxis
            ]

    spectrogram = levels.level_spectrogram(blocks(), duration_s * RATE, RATE)
    assert spectrogram.level_db.shape[1] == levels.MAX_COLUMNS
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


def panel_values(draw, *audio: np.ndarray, **options) -> np.ma.MaskedArray:
    return np.ma.asarray(draw(Figure().subplots(), *audio, sample_rate=RATE, **options).get_array())


def test_a_mask_is_the_gain_that_was_applied():
    noisy = np.random.default_rng(2).standard_normal(RATE)
    gains = panel_values(plotting.plot_mask, noisy, 0.1 * noisy)
    np.testing.assert_allclose(gains, -20.0, atol=1e-6)
    tone = sine(1000, 1.0) + 1e-6 * noisy
    gains = panel_values(plotting.plot_mask, tone, 0.5 * tone)
    assert gains[32].mean() == pytest.approx(-6.02, abs=0.01)
    assert np.ma.getmaskarray(gains)[100:].all()  # 100 dB below the tone there is nothing to keep


def test_phase_is_drawn_in_degrees_and_as_a_distance():
    audio = np.random.default_rng(3).standard_normal(RATE)
    assert panel_values(plotting.plot_phase, audio, reference=audio).max() < 1e-3
    np.testing.assert_allclose(panel_values(plotting.plot_phase, -audio, reference=audio), 180, atol=0.05)
    angles = panel_values(plotting.plot_phase, audio)
    assert -180 <= angles.min() < -170
    assert 170 < angles.max() <= 180
    assert panel_values(plotting.plot_phase, np.zeros(RATE)).mask.all()


@pytest.mark.parametrize("n_samples", [1, 300, 512, 40 * RATE])
def test_phase_of_any_length_has_no_more_columns_than_can_be_drawn(n_samples):
    angles = panel_values(plotting.plot_phase, np.ones(n_samples))
    assert 1 <= angles.shape[1] <= levels.MAX_COLUMNS


def test_what_cannot_be_compared_is_refused():
    axes, audio = Figure().subplots(), np.ones(100)
    with pytest.raises(SignalError, match="100 samples"):
        plotting.plot_mask(axes, audio, np.ones(99), sample_rate=RATE)
    with pytest.raises(SignalError, match="100 samples"):
        plotting.plot_phase(axes, audio, RATE, reference=np.ones(99))
    with pytest.raises(SignalError, match="one channel"):
        plotting.plot_phase(axes, np.ones((100, 2)), RATE)
    with pytest.raises(SignalError, match="no recordings"):
        plotting.waveforms_figure([])
    with pytest.raises(DataError, match="before and after"):
        plotting.plot_changes(axes, ["a"], [], score_label="")


def test_mean_spectra_show_the_level_of_a_sine():
    axes = Figure().subplots()
    half = np.concatenate([sine(2000, 1.0), np.zeros(RATE)])
    plotting.plot_mean_spectra(axes, {"whole": sine(2000, 2.0), "half": half}, RATE)
    for line, level_db in zip(axes.get_lines(), (0.0, -3.01), strict=True):
        frequency_hz, mean_db = np.array(line.get_data())
        assert frequency_hz[mean_db.argmax()] == pytest.approx(2000, abs=1)
        assert mean_db.max() == pytest.approx(level_db, abs=0.1)


def test_recordings_beside_each_other_share_their_scales():
    recordings = [
        plotting.TitledAudio("long", sine(1000, 2.0, peak=0.5), RATE),
        plotting.TitledAudio("short, 48 kHz", np.full((48_000, 2), 0.05), 48_000),
        plotting.TitledAudio("third", sine(1000, 1.0), RATE),
    ]
    figure = plotting.spectrograms_figure(recordings, columns=2)
    drawn_axes = [axes for axes in figure.axes if axes.images]
    assert {axes.images[0].get_clim() for axes in drawn_axes} == {(-80.0, 0.0)}
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in drawn_axes} == {((0, 2), (0, 24))}
    figure = plotting.waveforms_figure(recordings, columns=2)
    visible = [axes for axes in figure.axes if axes.axison]
    assert len(visible) == 3
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in visible} == {((0, 2), (-1.05, 1.05))}


def test_changes_are_ranked_with_the_largest_rise_on_top():
    axes = Figure().subplots()
    plotting.plot_changes(axes, ["a", "b", "c"], [(1, 2), (5, 4), (0, 3)], score_label="dB")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]
    before, better, worse = (np.array(line.get_data()).T.tolist() for line in axes.get_lines())
    assert (before, better, worse) == ([[5, 0], [1, 1], [0, 2]], [[2, 1], [3, 2]], [[4, 0]])


def test_figures_are_what_the_files_show(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,other,loss,val_loss\n0,3,1.0,1.2\n1,4,0.5,0.9\n")
    assert [axes.get_title("left") for axes in plotting.training_curves_figure(log).axes] == ["loss", "other"]
    figure = plotting.training_curves_figure(log, quantities=["loss", "absent"])
    assert len(figure.axes) == 1
    with pytest.raises(DataError, match="no column of absent"):
        plotting.training_curves_figure(log, quantities=["absent"])
    (training, validation) = figure.axes[0].get_lines()
    np.testing.assert_array_equal(training.get_xdata(), [1, 2])  # Keras counts from 0
    np.testing.assert_array_equal(training.get_ydata(), [1.0, 0.5])
    np.testing.assert_array_equal(validation.get_ydata(), [1.2, 0.9])
    triple = plotting.AudioTriple("t", sine(500, 1.0), sine(700, 1.0), sine(500, 1.0) + sine(700, 1.0))
    plotting.plot_triples([triple], RATE, tmp_path / "triples.png")
    assert len([axes for axes in plotting.triples_figure([triple], RATE).axes if axes.images]) == 3
    assert imread(tmp_path / "triples.png").shape[1] == 1800
