"""Training an enhancer: learning, killing and resuming, the referee, pairs, and the command."""

import functools
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from enhancer_specs import RATE, TINY, pair_batch, pair_batches, tiny
from recordings import hiss, voice

from audenoise.audio import read_audio
from audenoise.bandwidth import frame_ends_hz, speech_bandwidth_hz, upper_band_db
from audenoise.cli import main
from audenoise.corpus import TrainingFolders
from audenoise.enhancer_pairs import PairBatch, digital_gaps, make_pairs, wide_pool
from audenoise.enhancing import training
from audenoise.enhancing.judging import Referee
from audenoise.enhancing.runs import averaged, load_game, prepare_enhancer_run, start_from
from audenoise.enhancing.sides import Game
from audenoise.enhancing.training import fit_enhancer
from audenoise.errors import DataError, SpecError, TrainingError
from audenoise.layers import to_numpy
from audenoise.mixtures import MixtureStream
from audenoise.run_folders import RunState
from audenoise.specs.enhancer import dump_enhancer_spec, parse_enhancer_spec
from audenoise.spectral import stft
from audenoise.training_log import StepReport


@pytest.fixture(scope="module", autouse=True)
def step_by_step() -> Iterator[None]:
    """Compiling a step takes longer than running it as often as here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def validation(spec):
    return pair_batch(10**6, spec, n_samples=2400)


def fit(run: Path, spec, batches, *, resume: bool = False, **others):
    state = prepare_enhancer_run(run, spec, resume=resume)
    fit_enhancer(spec, batches, validation(spec), run=run, state=state, **others)
    return state


def contents(run: Path, spec) -> list[np.ndarray]:
    """All weights and all that the optimizers remember."""
    game = Game(spec)
    load_game(game, run, RunState.read(run))
    parts = (game, game.generator_optimizer, game.discriminator_optimizer)
    return [to_numpy(variable) for part in parts for variable in part.variables]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("enhancer") / "run"
    fit(run, tiny(), pair_batches(tiny()))
    return run


def test_a_run_leaves_weights_a_log_and_examples(finished: Path) -> None:
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    examples = {
        f"examples/epoch-2/1{end}" for end in (".png", "-degraded.wav", "-enhanced.wav", "-target.wav")
    }
    kept = {"best.weights.h5", "last-2.weights.h5", "log.csv", "spec.yaml", "state.json"}
    assert names == examples | kept
    header, *rows = (finished / "log.csv").read_text().splitlines()
    columns = {
        "mel",
        "output_mel",
        "stft",
        "magnitude",
        "complex",
        "phase",
        "pitch",
        "residual",
        "adversarial",
    }
    columns |= {"feature_matching", "discriminator_loss", "discriminator_accuracy", "discriminator_gap"}
    assert columns | {"val_spectral_distance", "val_mel_distance"} <= set(header.split(","))
    assert len(rows) == 2
    # The discriminators joined in the second epoch.
    assert rows[0].split(",")[header.split(",").index("discriminator_loss")] == ""
    enhanced, rate = read_audio(finished / "examples/epoch-2/1-enhanced.wav")
    assert (enhanced.shape, rate) == ((2400, 1), RATE)


def test_a_killed_run_goes_on_exactly_where_it_was(finished: Path, tmp_path: Path) -> None:
    spec = tiny()

    def dies() -> Iterator[PairBatch]:
        yield from itertools.islice(pair_batches(spec), 3)
        raise RuntimeError("killed")

    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        fit(run, spec, dies())
    assert RunState.read(run).epoch == 1
    state = fit(run, spec, pair_batches(spec, 1), resume=True)
    assert state.epoch == 2
    for one, other in zip(contents(run, spec), contents(finished, spec), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert [path.name for path in run.glob("last-*")] == ["last-2.weights.h5"]


def test_a_long_epoch_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "StepReport", functools.partial(StepReport, every_s=0.0))
    spec, lines = tiny(training={"epochs": 1, "steps_per_epoch": 4}), []
    fit(tmp_path / "run", spec, pair_batches(spec), report=lines.append)
    within = [line.partition(", about ")[0].partition(", loss ") for line in lines if ": step " in line]
    assert [place for place, _, _ in within] == ["epoch 1/1: step 2/4", "epoch 1/1: step 3/4"]
    assert all(np.isfinite(float(loss)) for _, _, loss in within)


def test_the_loss_falls_and_the_output_comes_nearer(tmp_path: Path) -> None:
    tf.config.run_functions_eagerly(False)
    try:
        _learns(tmp_path)
    finally:
        tf.config.run_functions_eagerly(True)


def _learns(tmp_path: Path) -> None:
    spec = tiny(
        schedule={"adversarial_from_step": 1000},
        training={"epochs": 2, "steps_per_epoch": 20, "learning_rate": 1e-2, "examples_every": 0},
    )
    fit(tmp_path, spec, pair_batches(spec))
    game, pairs = Game(spec), pair_batch(5, spec)
    game.generator.load_weights(tmp_path / "best.weights.h5")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    losses = [float(line.split(",")[lines[0].split(",").index("loss")]) for line in lines[1:]]
    assert losses[1] < 0.8 * losses[0]
    found = game.generator_side.terms(pairs.inputs(), pairs.targets(), game.generator_side(pairs.inputs()))
    idle = Game(spec)
    before = idle.generator_side.terms(pairs.inputs(), pairs.targets(), idle.generator_side(pairs.inputs()))
    for name in ("mel", "output_mel", "stft"):
        assert float(found[name]) < 0.75 * float(before[name])


def test_fine_tuning_starts_from_both_sides_or_from_a_generator(finished: Path, tmp_path: Path) -> None:
    game, stored = Game(tiny()), contents(finished, tiny())
    start_from(game, finished)
    for one, other in zip([to_numpy(v) for v in game.variables], stored, strict=False):
        np.testing.assert_array_equal(one, other)
    for optimizer in (game.generator_optimizer, game.discriminator_optimizer):
        assert int(to_numpy(optimizer.iterations)) == 0
        moments = [v for v in optimizer.variables if "momentum" in v.path or "velocity" in v.path]
        assert moments
        assert not any(to_numpy(moment).any() for moment in moments)
    weights = [to_numpy(v) for v in game.generator.trainable_variables]
    with averaged(game):
        for one, other in zip(weights, game.generator.trainable_variables, strict=True):
            np.testing.assert_array_equal(one, to_numpy(other))
    alone = Game(tiny())
    start_from(alone, finished / "best.weights.h5")
    with pytest.raises(TrainingError, match=r"best\.weights\.h5: weights don't fit the spec"):
        start_from(Game(tiny(generator={"channels": 13})), finished / "best.weights.h5")
    prepare_enhancer_run(tmp_path, tiny(), resume=False)
    with pytest.raises(TrainingError, match="has no finished epoch"):
        start_from(alone, tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(TrainingError, match="model: is neither the folder of a run nor of a published enh"):
        start_from(alone, tmp_path / "model")
    shutil.copy(finished / "best.weights.h5", tmp_path / "model" / "model.weights.h5")
    start_from(game, tmp_path / "model")
    for one, other in zip(alone.generator.variables, game.generator.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_scores_of_other_pairs_are_not_compared(tmp_path: Path) -> None:
    state = prepare_enhancer_run(tmp_path, tiny(), resume=False)
    state.epoch, state.best_epoch, state.best_loss = 1, 1, 0.5
    state.write(tmp_path)
    assert prepare_enhancer_run(tmp_path, tiny(), resume=True).best_loss == 0.5
    slower = tiny(training={"learning_rate": 1e-5})
    assert prepare_enhancer_run(tmp_path, slower, resume=True).best_loss == 0.5
    other = tiny(pairs={"full_band_hz": None})
    assert prepare_enhancer_run(tmp_path, other, resume=True).best_loss is None


def test_runs_are_not_mixed_up(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run already; add --resume"):
        prepare_enhancer_run(finished, tiny(), resume=False)
    with pytest.raises(TrainingError, match="differs from the given spec in its generator or discriminators"):
        prepare_enhancer_run(finished, tiny(generator={"channels": 13}), resume=True)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        prepare_enhancer_run(tmp_path, tiny(), resume=True)


def test_a_loss_that_is_no_number_stops_with_a_word(tmp_path: Path) -> None:
    spec = tiny()

    def poisoned() -> Iterator[PairBatch]:
        for batch in pair_batches(spec):
            yield batch._replace(target=batch.target * np.float32(np.nan))

    with pytest.raises(
        TrainingError, match=r"the loss of the generator is not a number: lower training\.learning_rate"
    ):
        fit(tmp_path, spec, poisoned())
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize(
    ("accuracy", "gap", "message"),
    [
        (0.999, 0.9, "the discriminators have won: 99.9 %"),
        (0.5, 0.001, "the generator has won: for 2 epochs"),
    ],
)
def test_a_game_that_is_over_stops_with_a_word(accuracy: float, gap: float, message: str) -> None:
    referee = Referee(2)
    over = {"discriminator_accuracy": accuracy, "discriminator_gap": gap}
    referee.check_epoch({"loss": 1.0})
    referee.check_epoch(over)
    referee.check_epoch({"discriminator_accuracy": 0.8, "discriminator_gap": 0.3})
    referee.check_epoch(over)
    with pytest.raises(TrainingError, match=message) as caught:
        referee.check_epoch(over)
    assert "\n" not in str(caught.value)


# --- bandwidth and pairs ------------------------------------------------------------------------------------


def syllables(seconds: float, rate: int, *, seed: int, to_hz: float | None = None) -> np.ndarray:
    """Bursts of noise up to a frequency."""
    rng = np.random.default_rng(seed)
    audio = 0.1 * rng.standard_normal(round(seconds * rate))
    audio *= np.sin(2 * np.pi * 3 * np.arange(audio.size) / rate) > 0
    if to_hz is not None:
        spectrum = np.fft.rfft(audio)
        spectrum[round(to_hz * seconds) :] = 0
        audio = np.fft.irfft(spectrum, audio.size)
    return audio.astype(np.float32)


@pytest.mark.parametrize("to_hz", [4000.0, 9700.0, 20000.0])
def test_bandwidth_is_that_of_the_speech(to_hz: float) -> None:
    audio = np.round(syllables(2, 48000, seed=0, to_hz=to_hz) * 2**15) / 2**15
    assert to_hz <= speech_bandwidth_hz(audio, 48000) <= to_hz + 500
    with_hiss = audio + 0.01 * hiss(2, 48000, seed=1)
    assert speech_bandwidth_hz(with_hiss, 48000) == speech_bandwidth_hz(audio, 48000)
    assert speech_bandwidth_hz(np.zeros(48000, np.float32), 48000) == 0
    assert speech_bandwidth_hz(audio[:3000], 48000) == 0


def dulled(audio: np.ndarray, rate: int, *, db: float) -> np.ndarray:
    """With everything above 8 kHz turned down."""
    spectrum = np.fft.rfft(audio)
    spectrum[round(8000 * audio.size / rate) :] *= 10 ** (db / 20)
    return np.fft.irfft(spectrum, audio.size).astype(np.float32)


def test_the_upper_band_is_measured_against_the_speech() -> None:
    audio = syllables(4, 48000, seed=0)
    bright = upper_band_db(audio, 48000)
    assert bright == pytest.approx(10 * np.log10(5500 / 3900), abs=2)  # white: as the bands are wide
    assert upper_band_db(dulled(audio, 48000, db=-30), 48000) == pytest.approx(bright - 30, abs=0.5)
    with_pause = np.pad(audio, (0, 400000))
    assert upper_band_db(with_pause, 48000) == pytest.approx(bright, abs=2)
    for nothing in (np.zeros(48000), audio[:3000], syllables(1, 16000, seed=0)):
        rate = 16000 if nothing.size == 16000 else 48000
        assert upper_band_db(nothing.astype(np.float32), rate) == -np.inf


def test_dull_recordings_are_left_out_where_the_spec_says_so(tmp_path: Path) -> None:
    audio = syllables(2, 48000, seed=3)
    for name, db in (("bright", 0), ("dull", -40)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{name}.wav", dulled(0.5 * audio, 48000, db=db), 48000)
    folders, cache = (tmp_path / "bright", tmp_path / "dull"), tmp_path / "cache"
    pool, skipped = wide_pool(folders, spec=parse_enhancer_spec({}), cache=cache, jobs=1)
    assert (pool.lengths.size, skipped) == (2, [])
    spec = parse_enhancer_spec({"pairs": {"min_upper_db": -30}})
    pool, skipped = wide_pool(folders, spec=spec, cache=cache, jobs=1)
    assert pool.lengths.size == 1
    assert "1 recordings of" in skipped[0]
    assert "duller above 8 kHz than -30 dB" in skipped[0]
    with pytest.raises(DataError, match=r"dull: no recording's band .* -30 dB; the brightest has -3"):
        wide_pool(folders[1:], spec=spec, cache=cache, jobs=1)
    with pytest.raises(SpecError, match=r"pairs\.min_upper_db: is about 8 to 14 kHz"):
        parse_enhancer_spec({"sample_rate": 16000, "pairs": {"min_bandwidth_hz": 7000, "min_upper_db": -30}})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Speech with a full band, with half a band, and at half the rate; and noise."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("clean", "noise"):
        (folder / name).mkdir()
    for i in range(3):
        soundfile.write(folder / f"clean/full{i}.wav", syllables(2, RATE, seed=i), RATE)
    soundfile.write(folder / "clean/half.wav", syllables(2, RATE, seed=7, to_hz=1800), RATE)
    soundfile.write(folder / "clean/low.wav", voice(2, 4000, seed=8), 4000)
    for i in range(2):
        soundfile.write(folder / f"noise/{i}.wav", hiss(1, RATE, seed=20 + i), RATE)
    return folder


def test_only_full_bands_are_targets_and_pairs_depend_on_their_number_alone(
    corpus: Path, tmp_path: Path
) -> None:
    spec = tiny(pairs={"min_bandwidth_hz": 3500, "untouched": 0})
    folders = TrainingFolders((corpus / "clean",), (corpus / "noise",))
    pairs = make_pairs(spec, folders, cache=tmp_path, jobs=1)
    text = "\n".join(pairs.skipped)
    assert "low.wav: its rate of 4000 Hz leaves no room" in text
    assert "1 recordings of" in text
    assert pairs.train.speech.lengths.size + pairs.validation.speech.lengths.size == 3
    source: Any = pairs.train
    stream: Any = MixtureStream(source, batch_size=2, workers=1, first=1)
    try:
        other = next(stream)
    finally:
        stream.close()
    batch = pairs.train.batch(1, 2)
    for one, same in zip(batch, other, strict=True):
        np.testing.assert_array_equal(one, same)
    frames = -(-(800 + 128 - 32) // 32)
    assert [part.shape for part in batch] == [(2, 800)] * 2 + [(2, frames, 4), (2, frames, 2), (2, frames)]
    assert (batch.end_hz == RATE / 2).all()
    # The upper half of the band is gone from the input, at 4 kHz, and there in the target.
    upper = [np.abs(np.fft.rfft(part[0] * np.hanning(800)))[230:].mean() for part in batch[:2]]
    assert upper[0] < 0.05 * upper[1]


def test_some_inputs_are_left_as_they_are(corpus: Path, tmp_path: Path) -> None:
    spec = tiny(pairs={"min_bandwidth_hz": 3500, "untouched": 1})
    maker = make_pairs(spec, TrainingFolders((corpus / "clean",), ()), cache=tmp_path, jobs=1).train
    degraded, target, _ = maker.example(0)
    np.testing.assert_array_equal(degraded, target)
    too_much = tiny(pairs={"min_bandwidth_hz": 3900})
    with pytest.raises(DataError, match="no recording has speech up to 3900 Hz"):
        make_pairs(too_much, TrainingFolders((corpus / "clean/half.wav",), ()), cache=tmp_path, jobs=1)


def test_digital_silence_between_words_is_no_pause_to_learn(tmp_path: Path) -> None:
    speech = 0.5 * voice(3, RATE, seed=1) + hiss(3, RATE, seed=2) * np.float32(0.01)
    gaps = [np.pad(word, (0, 400)) for word in np.array_split(speech, 30)]
    for name, audio in (("words", np.concatenate(gaps)), ("room", speech)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", audio, RATE)
    spec = tiny(pairs={"min_bandwidth_hz": 1000, "untouched": 1})
    folders = TrainingFolders((tmp_path / "words",), (), (), (tmp_path / "room",))
    makers = make_pairs(spec, folders, cache=tmp_path / "cache", jobs=1)
    held = 0
    for number in range(20):
        target = makers.train.example(number)[1]
        silent = digital_gaps(target, RATE)
        assert not silent[: target.size - int(silent.sum())].any()  # at most behind the last word of all
        held += not silent.any()
        assert not digital_gaps(makers.validation.example(number)[1], RATE).any()
    assert held > 15
    # Shorter stretches are left: zeros that a waveform passes through.
    assert not digital_gaps(np.zeros(239, np.float32), RATE).any()
    assert digital_gaps(np.zeros(240, np.float32), RATE).all()


def test_a_coder_that_ends_each_frame_elsewhere_is_seen() -> None:
    """A quarter of the time everything is there, else what lies below 5.5 kHz."""
    rng, rate, sizes = np.random.default_rng(0), 16000, {"hop_length": 64, "win_length": 256}
    noise = 0.05 * rng.standard_normal(2 * rate)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(noise.size, 1 / rate) > 5500] = 0
    complete = np.tile(np.repeat([True, False, False, False], rate // 10), 5)
    ends = frame_ends_hz(np.where(complete, noise, np.fft.irfft(spectrum)), rate, **sizes)
    middles = np.arange(ends.size) * 64 - 64
    complete = complete[middles.clip(0, noise.size - 1)]
    assert np.median(ends[complete]) == 8000
    assert 5000 <= np.median(ends[~complete]) <= 5500
    assert (frame_ends_hz(noise, rate, **sizes) == 8000).all()


def test_what_a_coder_left_out_of_a_frame_is_not_taught(tmp_path: Path) -> None:
    """The coder's end is in every other tenth of a second."""
    rng, rate = np.random.default_rng(0), 16000
    noise = 0.1 * rng.standard_normal(3 * rate)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(noise.size, 1 / rate) > 5500] = 0
    complete = np.resize(np.repeat([True, False], rate // 10), noise.size)
    for name in ("a", "b"):
        audio = np.where(complete, noise, np.fft.irfft(spectrum)) * np.hanning(noise.size)
        soundfile.write(tmp_path / f"{name}.wav", audio, rate)
    spec = tiny(sample_rate=rate, pairs={"min_bandwidth_hz": 5000, "untouched": 1, "full_band_hz": 7500})
    folders = TrainingFolders((tmp_path / "a.wav",), (), (), (tmp_path / "b.wav",))
    maker = make_pairs(spec, folders, cache=tmp_path / "cache", jobs=1).train
    counts = set()
    for number in range(8):
        _, target, known_hz = maker.example(number)
        assert known_hz.shape == maker.batch(number, 1).end_hz.shape[1:]
        sizes: Any = {**spec.stft.model_dump(), "win_length": spec.stft.window_samples}
        power = np.abs(stft(target, **sizes)) ** 2
        upper = power[np.fft.rfftfreq(spec.stft.n_fft, 1 / rate) > 6500].mean(axis=0)
        ended = known_hz < 8000
        # Next to a frame that is complete, half of the samples are the other's.
        inner = ended & np.roll(ended, 3) & np.roll(ended, -3)
        assert not inner.any() or upper[inner].max() < 1e-3 * power.mean()
        counts |= {bool(each) for each in ended}
    assert counts == {True, False}


@pytest.mark.parametrize(
    ("pairs", "effects", "end_hz", "of_complete_hz"),
    [
        ({}, [], 2000, 4000),
        ({"full_band_hz": 1900}, [], 4000, 4000),
        ({"full_band_hz": None}, [], 4000, 4000),
        ({}, [{"kind": "pitch_shift", "semitones": [-12, -12]}], 1000, 2000),
        ({}, [{"kind": "pitch_shift", "semitones": [12, 12]}], 2000, 4000),
        ({}, [{"kind": "formant_shift", "ratio": [0.8, 0.8]}], 1600, 3200),
    ],
)
def test_a_target_ends_where_its_recording_does(
    pairs: dict[str, Any],
    effects: list[dict[str, Any]],
    end_hz: float,
    of_complete_hz: float,
    corpus: Path,
    tmp_path: Path,
) -> None:
    """Speech up to 1.8 kHz, in steps of 500 Hz."""
    spec = tiny(
        pairs={"min_bandwidth_hz": 1500, "untouched": 0, **pairs},
        degradation={"effects": [{"probability": 1, **effect} for effect in effects]},
    )
    folders = TrainingFolders((corpus / "clean/half.wav",), (), (), (corpus / "clean/full0.wav",))
    makers = make_pairs(spec, folders, cache=tmp_path, jobs=1)
    for number in range(4):
        degraded, target, found = makers.train.example(number)
        assert found == pytest.approx(end_hz)
        spectra = [np.abs(np.fft.rfft(part * np.hanning(part.size))) for part in (degraded, target)]
        apart = 3 * RATE / spec.stft.n_fft  # what a window lets in from the other side
        above, below = (
            side * np.fft.rfftfreq(target.size, 1 / RATE) > side * end_hz + apart for side in (1, -1)
        )
        assert not above.any() or spectra[1][above].max() < 3e-3 * spectra[1].max()
        if not effects:
            np.testing.assert_allclose(spectra[0][below], spectra[1][below], atol=1e-3 * spectra[1].max())
        assert makers.validation.example(number)[2] == pytest.approx(of_complete_hz)


def test_the_command_trains_resumes_and_says_what_is_wrong(corpus: Path, tmp_path: Path, capsys) -> None:
    spec = tmp_path / "tiny.yaml"
    changed = tiny(
        pairs={"min_bandwidth_hz": 3500}, training={"epochs": 1, "steps_per_epoch": 1, "examples": 1}
    )
    spec.write_text(dump_enhancer_spec(changed))
    run = tmp_path / "run"
    common = ["train-enhancer", "--clean", str(corpus / "clean"), "--out", str(run), "--workers", "0"]
    command = [*common, "--noise", str(corpus / "noise"), "--spec", str(spec)]
    assert main(command) == 0
    assert "epoch 1/1: loss" in capsys.readouterr().err
    assert main(command) == 1
    assert "holds a run already; add --resume" in capsys.readouterr().err
    assert main([*common, "--noise", str(corpus / "noise"), "--resume", "--epochs", "2"]) == 0
    err = capsys.readouterr().err
    assert "epoch 2/2: loss" in err
    assert "audenoise: going on with other settings than before: training.epochs 1 → 2\n" in err
    assert (run / "spec-epoch-1.yaml").read_text() == dump_enhancer_spec(changed)
    assert main([*common, "--resume"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("audenoise: all 2 epochs are done; --epochs N trains longer\n")
    assert "training on" not in err
    assert json.loads((run / "state.json").read_text())["epoch"] == 2
    assert main([*common, "--spec", "nowhere"]) == 1
    assert "nowhere: no such spec file" in capsys.readouterr().err
    assert TINY["training"]["epochs"] == 2
