"""`audenoise train DATASET`: from a saved dataset to weights, in one go or in two."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_datasets import mixture, write_dataset
from test_training import weights_in
from training_batches import TINY, tiny

from audenoise import training
from audenoise.callbacks import RunState
from audenoise.cli import main
from audenoise.datasets.feeding import DatasetStream
from audenoise.errors import DataError
from audenoise.specs import dump_spec, load_spec, parse_spec
from audenoise.training import train_from_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "dataset"
    train = [mixture(i, 0.3 + 0.2 * (i % 6)) for i in range(12)]
    write_dataset(folder, {"train": train, "test": [mixture(100 + i, 1.5) for i in range(6)]})
    return folder


def test_a_dataset_trains_in_one_go_or_in_two_to_the_same_weights(
    dataset: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    (tmp_path / "spec.yaml").write_text(
        dump_spec(tiny(schedule="constant", steps_per_epoch=6, scored_mixtures=3)), encoding="utf-8"
    )
    seen: list[tuple[int, bytes]] = []
    following = DatasetStream.__next__

    def noting(stream: DatasetStream) -> Any:
        batch = following(stream)
        seen.append((stream.number - 1, batch[0].tobytes()))
        return batch

    monkeypatch.setattr(DatasetStream, "__next__", noting)

    def run(name: str, *more: str) -> dict[int, bytes]:
        seen.clear()
        command = [
            "train",
            str(dataset),
            "--spec",
            str(tmp_path / "spec.yaml"),
            "--out",
            str(tmp_path / name),
        ]
        assert main([*command, *more]) == 0
        return dict(seen)

    straight = run("straight")
    first = run("parts", "--epochs", "1")
    second = run("parts", "--epochs", "2", "--resume", "--workers", "2")
    assert min(first) == 0
    assert min(second) == 6
    assert set(range(12)) <= set(straight)
    assert {**first, **second}.items() >= {i: straight[i] for i in range(12)}.items()
    assert len(set(straight.values())) == len(straight)
    out = capsys.readouterr().err
    assert "training on 10 s of mixtures, validating on some of 9 s\n" in out
    assert out.count("going on with other settings") == 1
    assert "audenoise: going on with other settings than before: training.epochs 1 → 2\n" in out
    assert "noisy input of 3 validation examples: SI-SDR" in out
    one, other = (weights_in(tmp_path / name / "last-2.weights.h5") for name in ("straight", "parts"))
    assert any("optimizer" in name for name in one)
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for name in ("straight", "parts"):
        with (tmp_path / name / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["0", "1"]
        assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)
        assert all(np.isfinite(float(row["val_si_sdr_db"])) for row in rows)
    assert (tmp_path / "straight" / "best.weights.h5").is_file()
    assert load_spec(tmp_path / "parts" / "spec-epoch-1.yaml").training.epochs == 1
    assert not list((tmp_path / "straight").glob("spec-*"))

    # Without --spec it is that of the run, which has all its epochs now; no batch is read for that.
    files = {path: path.read_bytes() for path in (tmp_path / "parts").glob("*.*")}
    seen.clear()
    assert main(["train", str(dataset), "--out", str(tmp_path / "parts"), "--resume"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "audenoise: all 2 epochs are done; --epochs N trains longer"
    assert lines[1].startswith("audenoise: best validation loss ")
    assert not lines[2:]
    assert not seen
    assert files == {path: path.read_bytes() for path in (tmp_path / "parts").glob("*.*")}


def test_a_dataset_teaches_to_denoise(tmp_path: Path) -> None:
    train = [mixture(i, 2.0) for i in range(16)]
    write_dataset(tmp_path / "dataset", {"train": train, "test": [mixture(100 + i, 1.5) for i in range(6)]})
    spec = parse_spec(
        {**TINY, "encoder": [{"filters": 12, "kernel": [1, 8], "stride": [1, 4], "norm": "batch"}],
         "output": {"kind": "magnitude_mask", "activation": "sigmoid"},
         "training": {**TINY["training"], "epochs": 4, "steps_per_epoch": 40}}
    )  # fmt: skip
    lines: list[str] = []
    train_from_dataset(spec, tmp_path / "dataset", run=tmp_path / "run", workers=0, report=lines.append)
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    before = next(float(line.split("SI-SDR ")[1].split(" dB")[0]) for line in lines if "noisy input" in line)
    assert float(rows[-1]["val_si_sdr_db"]) > before + 3, lines


def test_what_does_not_fit_is_refused_before_a_run_is_made(dataset: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    other = parse_spec({**TINY, "stft": {"n_fft": 128, "hop_length": 32}})
    (tmp_path / "spec.yaml").write_text(dump_spec(other), encoding="utf-8")
    command = ["--spec", str(tmp_path / "spec.yaml"), "--out", str(run)]
    assert main(["train", str(dataset), *command]) == 1
    assert "stft.hop_length is 64 in the dataset and 32 in the spec" in capsys.readouterr().err
    assert main(["train", str(tmp_path), *command]) == 1
    assert "is no dataset" in capsys.readouterr().err
    assert main(["train", str(dataset), "--clean", str(tmp_path), *command]) == 2
    assert "--clean: not with a DATASET" in capsys.readouterr().err
    assert main(["train", "--noise", str(tmp_path), *command]) == 2
    assert "Name a DATASET, or folders with --clean and --noise" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none"), *command]) == 1
    assert "none: no such folder; make a dataset with `audenoise build-dataset`" in capsys.readouterr().err
    one_side = tmp_path / "one side"
    shutil.copytree(dataset, one_side)
    description = json.loads((one_side / "dataset.json").read_text())
    del description["sides"]["test"]
    (one_side / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="has nothing held out to validate on"):
        train_from_dataset(tiny(), one_side, run=run)
    assert not run.exists()


def test_a_reader_that_keeps_up_is_not_waited_for(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    import time

    steps = training.DenoisingModel.train_step

    def slow(model: Any, *arguments: Any) -> Any:
        time.sleep(0.15)
        return steps(model, *arguments)

    monkeypatch.setattr(training.DenoisingModel, "train_step", slow)
    compiled = training.DenoisingModel.compile
    monkeypatch.setattr(
        training.DenoisingModel, "compile", lambda self, **more: compiled(self, **more, run_eagerly=True)
    )
    state = train_from_dataset(
        tiny(epochs=2, steps_per_epoch=10, scored_mixtures=0), dataset, run=tmp_path, workers=1,
        report=lambda line: None,
    )  # fmt: skip
    assert state == RunState.read(tmp_path)
    with (tmp_path / "log.csv").open() as file:
        waits = [float(row["data_wait"]) for row in csv.DictReader(file)]
    assert waits[1] < 0.3  # the first epoch waits for the process to start
