"""A tiny training from end to end, the ways in which it stops, and the same on another backend."""

import csv
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import soundfile
from filelock import FileLock
from recordings import voice, write_corpus
from training_batches import RATE, RECURRENT, TINY, batch, batches, tiny, validation

from audenoise import training
from audenoise.architectures import build_network
from audenoise.callbacks import EpochWarmUp, Guard, RunState
from audenoise.cli import main
from audenoise.corpus import TrainingFolders
from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError, SpecError, TrainingError
from audenoise.layers import SpectralTransform, to_numpy
from audenoise.losses import denoising_losses
from audenoise.publishing import doubts, load_keras_model, publish, scores_of
from audenoise.specs import ModelSpec, dump_spec, load_spec, parse_spec
from audenoise.training import DenoisingModel, fit, make_optimizer, prepare_run, train_from_folders

quietly = functools.partial(fit, tensorboard=False, verbose=0)


def weights_in(path: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file, the optimizer's too."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


def validation_loss(spec: ModelSpec, network: keras.Model) -> float:
    """The loss over the validation pairs, in the batches of `fit`."""
    transform = SpectralTransform(n_fft=128, hop_length=64, win_length=128, window="sqrt_hann")
    noisy, clean = validation()
    losses, sizes = [], []
    for start in range(0, len(noisy), spec.training.batch_size):
        part = slice(start, start + spec.training.batch_size)
        spectrum = network(transform.stft(noisy[part]), training=False)
        terms = denoising_losses(noisy[part], clean[part], spectrum, transform=transform, weights=spec.loss)
        losses.append(float(to_numpy(terms["loss"])))
        sizes.append(len(noisy[part]))
    return float(np.average(losses, weights=sizes))


# --- from folders to a denoised file ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run folder of two epochs on folders with one damaged file, and what was reported."""
    folder = tmp_path_factory.mktemp("training")
    clean, noise = write_corpus(folder)
    (clean / "broken.wav").write_bytes(b"not audio")
    lines: list[str] = []
    train_from_folders(
        parse_spec(RECURRENT),
        TrainingFolders((clean,), (noise,)),
        run=folder / "run",
        workers=1,
        report=lines.append,
    )
    return folder / "run", lines


def test_a_run_leaves_weights_logs_spec_and_state(trained: tuple[Path, list[str]]) -> None:
    run, lines = trained
    assert sum("broken.wav" in line for line in lines) == 1
    state = RunState.read(run)
    assert (state.epoch, state.last) == (2, "last-2.weights.h5")
    assert load_spec(run / "spec.yaml") == parse_spec(RECURRENT)
    assert sorted(path.name for path in run.glob("*.h5")) == ["best.weights.h5", "last-2.weights.h5"]
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[1]["val_loss"]) < float(rows[0]["val_loss"])
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)
    assert state.best_loss == pytest.approx(min(float(row["val_loss"]) for row in rows), rel=1e-4)
    if keras.backend.backend() == "tensorflow":
        assert list((run / "logs").rglob("events.*"))


@pytest.mark.parametrize(("level_db", "says"), [(-3.0, []), (-58.1, ["58 dB below the speech"])])
def test_a_run_that_learnt_only_silence_is_doubted(level_db: float, says: list[str], tmp_path: Path) -> None:
    RunState(epoch=2, best_epoch=1).write(tmp_path)
    assert doubts(tmp_path) == []
    (tmp_path / "log.csv").write_text(f"epoch,val_level_db\n0,{level_db}\n1,-90\n")
    found = doubts(tmp_path)
    assert len(found) == len(says)
    assert all(text in line for text, line in zip(says, found, strict=True))


def test_a_published_run_denoises_files_as_keras_does(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run, _ = trained
    target = tmp_path / "models" / "mine"
    error = publish(run, target, description="a test", licence="MIT", data=["made up"], scores={"pesq": 1.5})
    assert error < 1e-4
    network, spec = load_keras_model(target)
    assert spec == parse_spec({**RECURRENT, "name": "mine"})
    metadata = json.loads((target / "metadata.json").read_text())
    assert metadata["scores"] == {"pesq": 1.5}
    assert metadata["parameters"] == network.count_params()
    assert metadata["training"]["epochs"] == RunState.read(run).best_epoch
    assert sorted(metadata["files"]) == ["model.onnx", "model.weights.h5", "spec.yaml"]
    noisy = voice(1.3, RATE, seed=50) + np.float32(0.05) * np.random.default_rng(0).standard_normal(
        10400, np.float32
    )
    soundfile.write(tmp_path / "noisy.wav", noisy, RATE, subtype="FLOAT")
    audio, rate = soundfile.read(tmp_path / "noisy.wav", dtype="float32")
    denoised = Denoiser.from_preset(target).denoise(audio, rate)
    expected = DenoisingModel(network, spec).denoise(audio[None])[0]
    assert denoised.shape == audio.shape
    np.testing.assert_allclose(denoised, expected, atol=1e-4)
    assert np.abs(denoised - audio).max() > 1e-2


def test_publishing_refuses_what_is_not_ready(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    run, _ = trained
    about: dict[str, Any] = {"description": "", "licence": "MIT", "data": []}
    with pytest.raises(TrainingError, match=r"holds no best\.weights\.h5"):
        publish(tmp_path, tmp_path / "mine", **about)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "diary.txt").write_text("keep me")
    with pytest.raises(ModelError, match="exists already"):
        publish(run, tmp_path / "taken", **about)
    with pytest.raises(ModelError, match="is no model folder"):
        publish(run, tmp_path / "taken", **about, overwrite=True)
    with pytest.raises(SpecError, match="name: "):
        publish(run, tmp_path / "no name", **about)
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "diary.txt"]
    publish(run, tmp_path / "mine", **about)
    publish(run, tmp_path / "mine", **about, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "taken"]
    (tmp_path / "mine" / "model.weights.h5").write_bytes(b"changed")
    with pytest.raises(ModelError, match="checksum"):
        load_keras_model(tmp_path / "mine")


# --- stopping and going on ----------------------------------------------------------------------------------


class Killed(Exception):
    pass


def killed_after(count: int, source: Iterator[Any]) -> Iterator[Any]:
    yield from itertools.islice(source, count)
    raise Killed("the iterator died")


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    spec = tiny()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    straight = quietly(
        spec, batches(spec), validation(), run=whole, state=prepare_run(whole, spec, resume=False)
    )
    state = prepare_run(parts, spec, resume=False)
    with pytest.raises(Killed, match="the iterator died"):
        quietly(spec, killed_after(17, batches(spec)), validation(), run=parts, state=state)
    resumed = prepare_run(parts, spec, resume=True)
    assert (resumed.epoch, resumed.last) == (1, "last-1.weights.h5")
    network = quietly(spec, batches(spec, resumed.epoch), validation(), run=parts, state=resumed)
    expected, found = (weights_in(run / "last-2.weights.h5") for run in (whole, parts))
    assert found.keys() == expected.keys()
    assert any("optimizer" in name for name in found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for one, other in zip(straight.weights, network.weights, strict=True):
        np.testing.assert_allclose(to_numpy(other), to_numpy(one), rtol=1e-4, atol=1e-5)
    assert resumed.best_loss == pytest.approx(RunState.read(whole).best_loss, rel=1e-4)
    with (parts / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_the_best_weights_are_the_averaged_ones_that_were_validated(tmp_path: Path) -> None:
    spec = tiny(ema_momentum=0.95)  # after the first epoch the average is still restarted
    state = prepare_run(tmp_path, spec, resume=False)
    network = quietly(spec, batches(spec), validation(), run=tmp_path, state=state)
    assert state.best_loss == pytest.approx(validation_loss(spec, network), rel=1e-4)
    raw = DenoisingModel(build_network(spec), spec)
    raw.compile(optimizer=make_optimizer(spec))
    raw(validation()[0][:1])
    raw.optimizer.build(raw.trainable_variables)
    assert state.last
    raw.load_weights(tmp_path / state.last)
    differences = [
        np.abs(to_numpy(a) - to_numpy(b)).max()
        for a, b in zip(raw.network.trainable_weights, network.trainable_weights, strict=True)
    ]
    assert max(differences) > 1e-4


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    spec = tiny(epochs=1, steps_per_epoch=2)
    state = prepare_run(tmp_path, spec, resume=False)
    quietly(spec, batches(spec), validation(), run=tmp_path, state=state)
    before = (tmp_path / "last-1.weights.h5").read_bytes()
    quietly(spec, iter(()), validation(), run=tmp_path, state=prepare_run(tmp_path, spec, resume=True))
    assert (tmp_path / "last-1.weights.h5").read_bytes() == before


def test_run_folders_are_not_mixed_up(tmp_path: Path) -> None:
    spec = tiny(epochs=1, steps_per_epoch=2)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        prepare_run(tmp_path, spec, resume=True)
    prepare_run(tmp_path, spec, resume=False)
    state = prepare_run(tmp_path, spec, resume=False)  # nothing was trained, so nothing is lost
    quietly(spec, batches(spec), validation(), run=tmp_path, state=state)
    with pytest.raises(TrainingError, match="holds a run already; add --resume"):
        prepare_run(tmp_path, spec, resume=False)
    other = parse_spec({**TINY, "output": {"kind": "spectrogram"}})
    with pytest.raises(TrainingError, match="differs from the given spec in its network"):
        prepare_run(tmp_path, other, resume=True)
    lines: list[str] = []
    prepare_run(tmp_path, spec, resume=True, report=lines.append)
    # It has all its epochs: nothing goes on, with whatever settings.
    prepare_run(tmp_path, tiny(epochs=1, learning_rate=0.02), resume=True, report=lines.append)
    assert (load_spec(tmp_path / "spec.yaml"), lines) == (spec, [])
    prepare_run(tmp_path, tiny(epochs=5, steps_per_epoch=2), resume=True, report=lines.append)
    assert lines.pop() == "going on with other settings than before: training.epochs 1 → 5"
    prepare_run(tmp_path, parse_spec({**TINY, "name": "x", "loss": {}, "mixing": {"level_dbfs": [-30, -20]},
                                      "training": {"batch_size": 3, "epochs": 5}}), resume=True,
                report=lines.append)  # fmt: skip
    assert load_spec(tmp_path / "spec.yaml").training.batch_size == 3
    (line,) = lines
    assert line.startswith('going on with other settings than before: name "tiny" → "x", ')
    assert "mixing.level_dbfs [" in line
    assert re.search(r", loss\.sdr 0\.001 → \S+, .* and \d+ more$|.* and \d+ more$", line)
    # That of the epoch that was trained, not one that never held for an epoch.
    assert load_spec(tmp_path / "spec-epoch-1.yaml") == spec
    (tmp_path / "state.json").write_text('{"epoch": 1')
    with pytest.raises(TrainingError, match=r"state\.json: cannot be read"):
        prepare_run(tmp_path, spec, resume=True)


def test_two_trainings_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    folders = TrainingFolders(*[(tmp_path,)] * 2)
    with (
        FileLock(tmp_path / "run/.lock"),
        pytest.raises(TrainingError, match="run: another training is running"),
    ):
        train_from_folders(tiny(), folders, run=tmp_path / "run")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingError, match="file: can't be made"):
        train_from_folders(tiny(), folders, run=tmp_path / "file")


@pytest.mark.parametrize("bad_batch", [0, 5])
def test_a_loss_that_is_no_number_stops_with_a_word(bad_batch: int, tmp_path: Path) -> None:
    spec = tiny()

    def poisoned() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, (noisy, clean) in enumerate(batches(spec)):
            yield noisy, clean * np.float32(np.nan if number == bad_batch else 1)

    state = prepare_run(tmp_path, spec, resume=False)
    with pytest.raises(TrainingError, match=r"not a number: lower training\.learning_rate"):
        quietly(spec, poisoned(), validation(), run=tmp_path, state=state)
    assert RunState.read(tmp_path).epoch == 0
    assert not list(tmp_path.glob("*.h5"))


def test_a_silent_output_stops_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Guard", functools.partial(Guard, patience_steps=3))
    still = tiny(learning_rate=1e-12, steps_per_epoch=2).training
    spec = parse_spec({**TINY, "output": {"kind": "complex_mask"}}).model_copy(update={"training": still})
    network = build_network(spec)
    for weight in network.get_layer("decoder1_up").weights:
        weight.assign(np.zeros(weight.shape))
    network.save_weights(tmp_path / "silent.weights.h5")
    run = tmp_path / "run"
    state = prepare_run(run, spec, resume=False)
    with pytest.raises(TrainingError, match="collapsed to silence"):
        quietly(
            spec, batches(spec), validation(), run=run, state=state,
            initial_weights=tmp_path / "silent.weights.h5",
        )  # fmt: skip


def test_fine_tuning_starts_from_the_given_weights(tmp_path: Path) -> None:
    spec = tiny(epochs=1, steps_per_epoch=2, learning_rate=1e-12)
    keras.utils.set_random_seed(77)
    start = build_network(spec)
    start.save_weights(tmp_path / "start.weights.h5")
    run = tmp_path / "run"
    tuned = quietly(
        spec, batches(spec), validation(), run=run, state=prepare_run(run, spec, resume=False),
        initial_weights=tmp_path / "start.weights.h5",
    )  # fmt: skip
    for one, other in zip(start.trainable_weights, tuned.trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(other), to_numpy(one), atol=1e-6)


def test_fine_tuning_that_was_killed_in_its_first_epoch_goes_on_from_the_given_weights(
    tmp_path: Path,
) -> None:
    spec = tiny(epochs=1, steps_per_epoch=2, learning_rate=1e-12)
    keras.utils.set_random_seed(77)
    start = build_network(spec)
    start.save_weights(tmp_path / "start.weights.h5")
    run = tmp_path / "run"
    state = prepare_run(run, spec, resume=False)

    def killed() -> Iterator[Any]:
        yield next(batches(spec))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quietly(
            spec, killed(), validation(), run=run, state=state,
            initial_weights=tmp_path / "start.weights.h5",
        )  # fmt: skip
    (tmp_path / "start.weights.h5").unlink()
    state = prepare_run(run, spec, resume=True)
    assert state.epoch == 0
    tuned = quietly(spec, batches(spec), validation(), run=run, state=state)
    for one, other in zip(start.trainable_weights, tuned.trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(other), to_numpy(one), atol=1e-6)
    assert [path.name for path in run.glob("last-*")] == ["last-1.weights.h5"]


@pytest.mark.parametrize("damage", ["other network", "other depth", "truncated", "missing"])
def test_weights_that_do_not_fit_are_named(damage: str, tmp_path: Path) -> None:
    spec, path = tiny(epochs=1), tmp_path / "start.weights.h5"
    if damage == "other network":
        build_network(parse_spec({**TINY, "encoder": [{"filters": 9}]})).save_weights(path)
    elif damage == "other depth":
        build_network(parse_spec({**TINY, "encoder": TINY["encoder"] * 2})).save_weights(path)
    elif damage == "truncated":
        build_network(spec).save_weights(path)
        path.write_bytes(path.read_bytes()[:3000])
    run = tmp_path / "run"
    state = prepare_run(run, spec, resume=False)
    with pytest.raises(TrainingError, match=r"start\.weights\.h5: weights don't fit the spec") as caught:
        quietly(spec, batches(spec), validation(), run=run, state=state, initial_weights=path)
    assert "\n" not in str(caught.value)


def test_early_stopping_waits_for_its_patience(tmp_path: Path) -> None:
    spec = tiny(epochs=20, steps_per_epoch=12, early_stopping_epochs=2, ema_momentum=0)
    state = prepare_run(tmp_path, spec, resume=False)
    state.best_loss, state.best_epoch = -1e9, 0  # never reached again
    network = build_network(spec)
    network.save_weights(tmp_path / "best.weights.h5")
    quietly(spec, batches(spec), validation(), run=tmp_path, state=state)
    assert state.epoch == 2


# --- JAX ----------------------------------------------------------------------------------------------------

UNDER_JAX = """
import sys
sys.modules["tensorflow"] = None
from pathlib import Path
import keras, numpy as np
assert keras.backend.backend() == "jax"
from filelock import FileLock
from training_batches import batch, batches, tiny, validation
from audenoise.layers import to_numpy
from audenoise.training import DenoisingModel, fit, prepare_run
run, spec = Path(sys.argv[1]), tiny(steps_per_epoch=4)

def dies():
    for number, item in enumerate(batches(spec)):
        if number == 6:
            raise RuntimeError("killed")
        yield item

state = prepare_run(run, spec, resume=False)
try:
    fit(spec, dies(), validation(), run=run, state=state, verbose=0)
except RuntimeError as error:
    assert str(error) == "killed", error
state = prepare_run(run, spec, resume=True)
assert state.epoch == 1, state
network = fit(spec, batches(spec, 1), validation(), run=run, state=state, verbose=0)
np.save(run / "denoised.npy", DenoisingModel(network, spec).denoise(batch(7)[0]))
assert sys.modules["tensorflow"] is None
"""


def test_training_on_jax_without_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", UNDER_JAX, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state, spec = RunState.read(tmp_path), tiny(steps_per_epoch=4)
    assert state.epoch == 2
    network = build_network(spec)
    network.load_weights(tmp_path / "best.weights.h5")
    denoised = DenoisingModel(network, spec).denoise(batch(7)[0])
    np.testing.assert_allclose(denoised, np.load(tmp_path / "denoised.npy"), atol=1e-4)
    # What JAX validated is what it saved: averaged weights, with the batch statistics of that epoch.
    assert state.best_loss == pytest.approx(validation_loss(spec, network), rel=1e-3)
    assert dump_spec(load_spec(tmp_path / "spec.yaml")) == dump_spec(spec)


def test_warm_up_before_a_plateau_raises_the_rate_from_epoch_to_epoch():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    warm_up = EpochWarmUp(0.8, warmup_steps=100, steps_per_epoch=40)
    warm_up.set_model(model)
    rates = []
    for epoch in range(5):
        warm_up.on_epoch_begin(epoch)
        rates.append(float(model.optimizer.learning_rate))
        if epoch == 3:
            model.optimizer.learning_rate = 0.1  # what a plateau would do
    assert rates == pytest.approx([0.16, 0.48, 0.8, 0.8, 0.1])


def test_a_full_disk_stops_training_with_one_line_and_keeps_what_was_there(tmp_path: Path, monkeypatch):
    spec = tiny(epochs=2)
    state = prepare_run(tmp_path / "run", spec, resume=False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(TrainingError, match=r"last-1\.weights\.h5: the disk is full .* --resume"):
        quietly(spec, batches(spec), validation(), run=tmp_path / "run", state=state)
    assert sorted(path.name for path in (tmp_path / "run").glob("*.h5")) == []


def test_fine_tuning_refuses_another_network_before_any_work(tmp_path: Path, capsys):
    folders = ["--clean", str(tmp_path), "--noise", str(tmp_path), "--out", str(tmp_path / "run")]
    spec = tmp_path / "other.yaml"
    spec.write_text(dump_spec(tiny()), encoding="utf-8")
    assert main(["train", *folders, "--from-preset", "standard", "--spec", str(spec)]) == 1
    assert "its network differs from that of standard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unknown_backend_is_one_line(tmp_path: Path):
    spec = tmp_path / "tiny.yaml"
    spec.write_text(dump_spec(tiny()), encoding="utf-8")
    command = [sys.executable, "-m", "audenoise", "models", "show", str(spec)]
    run = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "nope"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "KERAS_BACKEND=nope" in run.stderr
    assert "Traceback" not in run.stderr


def test_scores_of_a_benchmark_are_reduced_to_the_model_itself():
    rows = [
        {"name": name, "mean": {"pesq_wb": value}, "pairs": {"a.wav": {}}}
        for name, value in (("noisy", 1), ("audenoise mine", 2))
    ]
    assert scores_of({"systems": rows}, "mine") == {"pairs": 1, "mean": {"pesq_wb": 2}}
    assert scores_of({"pesq": 1.5}, "mine") == {"pesq": 1.5}
    with pytest.raises(ModelError, match="no row audenoise or 'audenoise other'"):
        scores_of({"systems": rows}, "other")
