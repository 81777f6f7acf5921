"""Commands whose process is killed at random moments: what was finished stays, and goes on.

Searches are killed in `test_tuning`.
"""

import csv
import hashlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from recordings import hiss, voice

from audenoise.audio import AudioWriter, remove_left_parts
from audenoise.interrupts import interrupts_wait
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
    made = killed.glob(".building/t*/*")
    names = {(path.parent.name, path.stem) for path in made if path.suffix in (".part", ".snapshot")}
    # Those that have been put together already: at the end they are moved, one after the other.
    for place in (".building/final/t*", "t*"):
        for path in killed.glob(f"{place}/*/*.shard/*.snapshot"):
            names.add((path.parents[2].name, f"{int(path.parent.stem):06d}"))
    return names

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


def test_a_build_killed_before_its_description_was_written_completes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audenoise.datasets import Inputs, build_dataset, info, make_spec

    inputs = Inputs((folder / "clean",), (folder / "noise",))
    spec = make_spec(sample_rate=8000, stft={"n_fft": 128, "hop_length": 64}, test_split=0.25, shard_mb=0.5)

    def dies(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(info, "write_text", dies)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(tmp_path / "killed", inputs, spec, jobs=1)
    assert (tmp_path / "killed" / "train.csv").exists()
    left = []
    for name in ("killed", "whole"):
        out = tmp_path / name
        build_dataset(out, inputs, spec, jobs=1)
        files = (path for path in out.rglob("*") if path.is_file())
        left.append({path.relative_to(out): path.read_bytes() for path in files})
    assert left[0] == left[1]


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


def test_only_files_that_nobody_writes_any_more_are_removed(tmp_path: Path) -> None:
    left, young, other = (
        tmp_path / name for name in (".audenoise-1.part", ".audenoise-2.part", ".mine.part")
    )
    for path in (left, young, other):
        path.write_bytes(b"half")
    (tmp_path / ".audenoise-3.part").mkdir()
    (tmp_path / ".audenoise-4.part").symlink_to(other)
    with AudioWriter(tmp_path / "a.wav", sample_rate=8000, channels=1) as writer:
        writer.write(hiss(0.1, 8000, seed=1))
        for path in tmp_path.iterdir():
            if path != young:
                os.utime(path, (0, 0), follow_symlinks=False)
        remove_left_parts(tmp_path)
        assert not left.exists()
        assert len(list(tmp_path.iterdir())) == 5
    assert soundfile.info(tmp_path / "a.wav").frames == 800
    remove_left_parts(tmp_path / "nowhere")


class Struck(io.BytesIO):
    """A file that is hit by Ctrl-C at each write, in the middle of libsndfile."""

    def write(self, data: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return super().write(data)


def test_an_interrupt_is_not_lost_in_a_callback_and_loses_nothing() -> None:
    audio, file, whole = hiss(0.5, 8000, seed=1), Struck(), io.BytesIO()
    soundfile.write(whole, audio, 8000, format="FLAC")
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        soundfile.write(file, audio, 8000, format="FLAC")
    assert file.getvalue() == whole.getvalue()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of commands under SIGKILL, SIGTERM and SIGINT; `kill_commands` ends if anything is lost."""
    command = [
        sys.executable,
        str(HERE / "kill_commands.py"),
        str(tmp_path_factory.mktemp("struck")),
        "4",
        "7",
    ]
    environment = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["predict", "enhance", "listen", "report", "evaluate"])
def test_a_command_struck_at_random_moments_writes_all_or_nothing(
    struck: dict[str, Any], command: str
) -> None:
    assert struck[command]["struck"] >= 1
    # The next run into a folder removes what a killed one has left there.
    assert struck[command]["left_after"] == 0


def test_a_live_recording_that_is_struck_can_be_opened(struck: dict[str, Any]) -> None:
    assert struck["live"]["rescued"] >= 2


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")),
    reason="starlette or uvicorn is missing: pip install 'audenoise[app]'",
)
def test_the_files_of_a_killed_page_go_with_the_next_start(struck: dict[str, Any]) -> None:
    assert struck["app"]["left"] >= 1
    assert struck["app"]["left_after"] == 0


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_termination_that_python_drops_comes_again(tmp_path: Path) -> None:
    program = (
        "import signal, time\n"
        "from audenoise.interrupts import Terminated, termination_unwinds\n"
        "class Leaving:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        time.sleep(0)\n"
        "try:\n"
        "    with termination_unwinds():\n"
        "        Leaving()\n"
        "        time.sleep(60)\n"
        "except Terminated:\n"
        "    print('terminated')\n"
    )
    # What the main thread waits in is broken off, not waited for.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=45)
    assert (done.stdout, done.stderr, done.returncode) == ("terminated\n", "", 0)
