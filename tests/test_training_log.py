"""What a training measures on held-out examples, by what it chooses, and what it still knows after a kill."""

import csv
import functools
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from training_batches import RATE, batches, tiny, validation

from audenoise import metrics, training, training_log
from audenoise.architectures import build_network
from audenoise.callbacks import FinishEpoch, RunState
from audenoise.errors import SpecError, TrainingError
from audenoise.training import DenoisingModel, fit, go_on_with, make_optimizer, prepare_run
from audenoise.training_log import StepReport
from audenoise.validation import ValidationScores

quietly = functools.partial(fit, tensorboard=False, verbose=0)
NEEDS = {"val_estoi": "pystoi", "val_pesq_wb": "pesq"}


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def train(run: Path, spec: Any, *, resume: bool = False, report: Any = None) -> RunState:
    state = prepare_run(run, spec, resume=resume)
    quietly(spec, batches(spec, state.epoch), validation(), run=run, state=state, report=report)
    return state


# --- metrics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema_momentum", [0.0, 0.8])
def test_the_log_has_the_metrics_of_the_weights_that_are_kept(ema_momentum: float, tmp_path: Path) -> None:
    spec, lines = tiny(epochs=1, scored_mixtures=4, ema_momentum=ema_momentum), []
    train(tmp_path, spec, report=lines.append)
    network = build_network(spec)
    network.load_weights(tmp_path / "best.weights.h5")
    noisy, clean = (part[:4] for part in validation())
    denoised = DenoisingModel(network, spec).denoise(noisy)
    assert denoised.shape == noisy.shape
    functions = {
        "val_si_sdr_db": lambda c, e: metrics.si_sdr_db(c, e),
        "val_estoi": lambda c, e: metrics.estoi(c, e, RATE),
        "val_pesq_wb": lambda c, e: metrics.pesq_wideband(c, e, RATE),
    }
    (row,) = rows_of(tmp_path)
    for name, function in functions.items():
        if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
            assert name not in row
            continue
        expected = np.mean([function(c, e) for c, e in zip(clean, denoised, strict=True)])
        assert float(row[name]) == pytest.approx(expected, abs=2e-3), name
    # Before it, a line for each metric whose package is missing.
    (first,) = (line for line in lines if line.startswith("noisy input of 4 validation examples: SI-SDR "))
    before = float(np.mean([metrics.si_sdr_db(c, n) for c, n in zip(clean, noisy, strict=True)]))
    assert f"SI-SDR {before:.2f} dB" in first
    after = float(row["val_si_sdr_db"])
    assert f"with SI-SDR {after:.2f} dB ({after - before:+.2f})" in lines[-1]
    if "val_estoi" in row:
        assert f", ESTOI {100 * float(row['val_estoi']):.1f} % (" in lines[-1]
    if "val_pesq_wb" in row:
        assert f", WB-PESQ {float(row['val_pesq_wb']):.2f} (" in lines[-1]


def test_metrics_without_their_package_are_left_out_and_said_once(tmp_path: Path, monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("pesq", "pystoi") else found(name, *rest),
    )
    lines: list[str] = []
    train(tmp_path, tiny(epochs=2, steps_per_epoch=2), report=lines.append)
    assert [line for line in lines if "validation measures" in line] == [
        "validation measures no ESTOI (pystoi) and no WB-PESQ (pesq): pip install audenoise[metrics]"
    ]
    assert all("val_si_sdr_db" in row and not set(NEEDS) & set(row) for row in rows_of(tmp_path))
    with pytest.raises(SpecError, match=r"training\.best_by: pesq can't be measured here"):
        train(tmp_path / "other", tiny(best_by="pesq"))


def test_no_scored_mixtures_means_the_loss_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    train(tmp_path, tiny(epochs=1, steps_per_epoch=2, scored_mixtures=0), report=lines.append)
    assert not any("si_sdr" in name for name in rows_of(tmp_path)[0])
    assert len(lines) == 1
    assert "SDR" in lines[0]


def test_a_long_epoch_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training_log.time, "monotonic", lambda: now[0])
    recipe, lines = tiny(epochs=20, steps_per_epoch=8).training, []
    steps = StepReport(lines.append, recipe, every_s=60)
    for epoch in (2, 3):
        steps.on_epoch_begin(epoch)
        for step in range(8):
            now[0] += 500 if step == 0 else 40  # the first one compiles
            steps.on_train_batch_end(step, {"loss": step / 10})
    said = [
        "step 2/8, loss 0.10000, about 4 min left in this epoch",
        "step 4/8, loss 0.30000, about 3 min left in this epoch",
        "step 6/8, loss 0.50000, about 80 s left in this epoch",
    ]
    assert lines == [f"epoch {epoch}/20: {line}" for epoch in (3, 4) for line in said]


def test_fit_says_how_far_it_is_to_who_wants_to_hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "StepReport", functools.partial(StepReport, every_s=0.0))
    lines: list[str] = []
    spec = tiny(epochs=1, steps_per_epoch=4, scored_mixtures=0)
    train(tmp_path / "told", spec, report=lines.append)
    pattern = re.compile(r"epoch 1/1: step (\d)/4, loss (\S+), about \S+ s left in .*")
    within = [pattern.fullmatch(line) for line in lines]
    assert [found and found[1] for found in within] == ["2", "3", None]
    assert within[0]
    assert 0 < float(within[0][2]) < 10
    assert lines[2].startswith("epoch 1/1: loss ")


def test_examples_that_cannot_be_measured_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((5, RATE)).astype(np.float32)
    noisy = clean + 0.1 * rng.standard_normal((5, RATE)).astype(np.float32)
    clean[0] = 0  # noise alone
    noisy[2] = clean[2]  # nothing to take out: its ratio is infinite
    scores = ValidationScores(noisy, clean, RATE, count=2)
    np.testing.assert_array_equal(scores.noisy, noisy[[1, 3]])
    expected = np.mean([metrics.si_sdr_db(clean[i], noisy[i]) for i in (1, 3)])
    assert scores.baseline["si_sdr_db"] == pytest.approx(expected)
    silent = scores.score(np.zeros_like(scores.noisy))
    assert np.isnan(silent["si_sdr_db"])
    lines: list[str] = []
    nothing = ValidationScores(noisy, np.zeros_like(noisy), RATE, count=2, report=lines.append)
    assert nothing.baseline == nothing.score(noisy) == {}
    assert lines[-1] == "validation by the loss alone: no held-out example has speech to measure"
    clean[1] = rng.standard_normal(RATE)
    ValidationScores(noisy, clean, RATE, count=1, report=lines.append)
    assert lines[-1].startswith("noisy input of 1 validation example: SI-SDR ")


def test_the_best_epoch_can_be_that_of_a_metric(tmp_path: Path) -> None:
    spec = tiny(epochs=4, steps_per_epoch=6, best_by="si_sdr", learning_rate=0.05)
    state = train(tmp_path, spec)
    rows = rows_of(tmp_path)
    scores = [float(row["val_si_sdr_db"]) for row in rows]
    assert state.best_epoch == 1 + int(np.argmax(scores))
    assert state.best_score == pytest.approx(max(scores))
    assert state.best_loss == pytest.approx(float(rows[state.best_epoch - 1]["val_loss"]))
    # Another measure can't be compared with it: the next epoch is the best so far.
    resumed = prepare_run(tmp_path, tiny(epochs=5, steps_per_epoch=6, learning_rate=0.05), resume=True)
    assert (resumed.best_loss, resumed.best_score) == (None, None)


# --- after a resume -----------------------------------------------------------------------------------------


def test_a_plateau_is_counted_across_a_resume(tmp_path: Path) -> None:
    # So low a rate that the loss stands still: after the first epoch, two without progress, then half of it.
    still = {"schedule": "plateau", "plateau_patience": 2, "learning_rate": 1e-5, "warmup_steps": 0}
    still |= {"steps_per_epoch": 2, "ema_momentum": 0, "scored_mixtures": 0}
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    train(straight, tiny(epochs=6, **still))
    for epochs in (2, 3, 6):
        train(parts, tiny(epochs=epochs, **still), resume=epochs > 2)
        stored = json.loads((parts / "state.json").read_text())["plateau"]
        assert stored["wait"] == {2: 1, 3: 0, 6: 1}[epochs]
    rates = [[float(row["learning_rate"]) for row in rows_of(run)] for run in (straight, parts)]
    assert rates[0] == pytest.approx([1e-5, 1e-5, 1e-5, 0.5e-5, 0.5e-5, 0.25e-5])
    assert rates[1] == pytest.approx(rates[0])


@pytest.mark.parametrize("schedule", ["constant", "plateau", "cosine"])
def test_a_run_goes_on_with_its_steps_and_the_rate_it_is_told(schedule: str, tmp_path: Path) -> None:
    common: dict[str, Any] = {"steps_per_epoch": 2, "warmup_steps": 0, "schedule": schedule}
    state = prepare_run(tmp_path, tiny(epochs=5, learning_rate=1e-3, **common), resume=False)
    state.epoch, state.last = 3, "last-3.weights.h5"
    state.write(tmp_path)
    assert not prepare_run(tmp_path, tiny(epochs=6, learning_rate=1e-3, **common), resume=True).new_rate
    spec = tiny(epochs=6, learning_rate=1e-5, **common)
    for _ in range(2):  # the second time as after a kill
        state = prepare_run(tmp_path, spec, resume=True)
        assert state.new_rate
    optimizer = make_optimizer(spec)
    optimizer.build([keras.Variable(np.zeros(3))])
    if schedule != "cosine":
        optimizer.learning_rate = 1e-3  # as the last epoch left it
    go_on_with(optimizer, spec.training, state)
    assert int(optimizer.iterations) == 6
    assert float(optimizer.learning_rate) <= 1e-5 * 1.001
    last = FinishEpoch(tmp_path, state)
    last.on_train_begin()
    last.on_epoch_end(3)
    assert not RunState.read(tmp_path).new_rate


def test_scores_on_other_mixtures_are_not_compared(tmp_path: Path) -> None:
    spec = tiny(epochs=2)
    state = prepare_run(tmp_path, spec, resume=False)
    state.epoch, state.best_loss, state.last = 1, 0.01, "last-1.weights.h5"
    state.write(tmp_path)
    assert prepare_run(tmp_path, tiny(epochs=3), resume=True).best_loss == 0.01
    harder = spec.model_copy(update={"mixing": spec.mixing.model_copy(update={"snr_db": (-15.0, -10.0)})})
    assert prepare_run(tmp_path, harder, resume=True).best_loss is None


def test_runs_of_older_versions_go_on_with_all_their_columns(tmp_path: Path) -> None:
    train(tmp_path, tiny(epochs=1, steps_per_epoch=2, scored_mixtures=0))
    state = json.loads((tmp_path / "state.json").read_text())
    for new in ("best_score", "plateau"):
        del state[new]
    (tmp_path / "state.json").write_text(json.dumps(state))
    before = (tmp_path / "log.csv").read_text()
    train(tmp_path, tiny(epochs=3, steps_per_epoch=2), resume=True)
    rows = rows_of(tmp_path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [bool(row["val_si_sdr_db"]) for row in rows] == [False, True, True]
    old = next(csv.DictReader(before.splitlines()))
    assert {name: rows[0][name] for name in old} == old
    assert -1 < float(rows[2]["val_loss"]) < 10
    (tmp_path / "log.csv").write_text("my,own\nnotes,here\n")
    with pytest.raises(TrainingError, match=r"log\.csv: is no log of a training"):
        train(tmp_path, tiny(epochs=4, steps_per_epoch=2), resume=True)
    assert (tmp_path / "log.csv").read_text() == "my,own\nnotes,here\n"
