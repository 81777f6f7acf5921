"""A training and a dataset whose process is killed at random moments: what was finished stays, and goes on.

Searches are killed in `test_tuning`.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from recordings import hiss, voice

from audenoise.run_folders import RunState

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")

_SCRIPT = """
import functools, json, sys
from pathlib import Path
import h5py
from kill_server import until_through
from training_batches import batches, tiny, validation
from audenoise.datasets import Inputs, build_dataset, building, make_spec
from audenoise.run_folders import RunState
from audenoise.training import fit, prepare_run

folder, kept = Path(sys.argv[1]), {"run": [0], "dataset": [set()]}
run, whole, killed = folder / "run", folder / "whole", folder / "dataset"
recipe = tiny(epochs=5, steps_per_epoch=1, warmup_steps=0, scored_mixtures=0, validation_mixtures=2)
spec = make_spec(sample_rate=8000, stft={"n_fft": 128, "hop_length": 64}, test_split=0.25, shard_mb=0.1)
# What makes the shards is killed with what collects them: a fork must not start processes of its own.
building.map_in_processes = lambda function, jobs, n_jobs, **_: map(function, jobs)

def train():
    resume = (run / "state.json").exists() and RunState.read(run).epoch > 0
    state = prepare_run(run, recipe, resume=resume)
    fit(recipe, batches(recipe, state.epoch), validation(), run=run, state=state, tensorboard=False)

def epoch():
    return RunState.read(run).epoch if (run / "state.json").exists() else 0

def no_checkpoint_is_lost():
    state = RunState.read(run)
    assert state.epoch >= kept["run"][-1], (state, kept)
    kept["run"].append(state.epoch)
    names = [state.last] * (state.epoch > 0) + ["best.weights.h5"] * (state.best_loss is not None)
    for name in names:
        with h5py.File(run / name) as file:  # every byte can be read
            file.visititems(lambda _, item: item[()].sum() if isinstance(item, h5py.Dataset) else None)

def build(out):
    build_dataset(out, Inputs((folder / "clean",), (folder / "noise",)), spec, jobs=1)

def shards():
    if (killed / "dataset.json").exists():
        return "all"
    made = killed.glob(".building/*/*")
    return {path.with_suffix("") for path in made if path.suffix in (".part", ".snapshot")}

def no_shard_is_lost():
    now = shards()
    assert now == "all" or now >= kept["dataset"][-1], (now, kept)
    if now != "all":
        kept["dataset"].append(now)

again = functools.partial(until_through, seed=5)
print(json.dumps({
    "trainings": again(train, seen=epoch, check=no_checkpoint_is_lost, kills=2, within_s=0.3),
    "builds": again(lambda: build(killed), seen=shards, check=no_shard_is_lost, kills=6, within_s=0.05),
    "whole": again(lambda: build(whole), seen=int, check=int, kills=0, within_s=0),
    "shards": len(kept["dataset"][-1]),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    for name in ("clean", "noise"):
        (folder / name).mkdir()
    for i in range(16):
        soundfile.write(folder / f"clean/{i}.wav", voice(1 + i / 8, 8000, seed=i), 8000)
    for i in range(4):
        soundfile.write(folder / f"noise/{i}.wav", hiss(1 + i, 8000, seed=50 + i), 8000)
    return folder


@pytest.fixture(scope="module")
def killed(folder: Path) -> dict[str, Any]:
    """How often each was killed. Each kill has been followed by a look at what was left."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_training_killed_at_random_moments_goes_on_to_its_end(killed: dict[str, Any], folder: Path) -> None:
    assert killed["trainings"] >= 1
    with (folder / "run/log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    losses = [float(row["val_loss"]) for row in rows]
    state = RunState.read(folder / "run")
    assert state.best_loss == pytest.approx(min(losses))
    assert state.best_epoch == 1 + losses.index(min(losses))
    assert [path.name for path in (folder / "run").glob("last-*")] == ["last-5.weights.h5"]
    assert {"last-5.weights.h5", "best.weights.h5"} <= {path.name for path in (folder / "run").iterdir()}
    assert not list((folder / "run").glob("*partial*"))


def test_a_build_killed_at_random_moments_ends_with_the_same_bytes(
    killed: dict[str, Any], folder: Path
) -> None:
    assert killed["builds"] >= 3
    assert killed["shards"] >= 3
    assert tree(folder / "dataset") == tree(folder / "whole")


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
