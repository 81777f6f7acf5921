"""The work on a Ray cluster of two machines: the same bytes as here, whatever dies meanwhile."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from model_folders import gain_model
from open_ports import Watch
from recordings import hiss, voice, write_corpus

from audenoise import batch, cluster
from audenoise.addresses import Address
from audenoise.cli import main
from audenoise.datasets import DatasetInfo, building
from audenoise.errors import AudenoiseError, DataError
from audenoise.evaluation import running
from audenoise.sources.items import ItemMixer
from audenoise.sources.parts import PartJob, make_part
from audenoise.workers import map_in_processes

ray = pytest.importorskip("ray")

RATE = 16000
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}


class Machines:
    """Two nodes with a core each, on this machine and its loopback; their workers find this module."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {**NODE, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second = self.cluster.add_node(**NODE)
        self.address = str(self.cluster.address)

    def lose_second_when(self, condition: Callable[[], bool]) -> "Loss":
        return Loss(self, condition)


class Loss:
    """Kills the second node when a condition holds, and brings a new one afterwards."""

    def __init__(self, machines: Machines, condition: Callable[[], bool]) -> None:
        self.machines, self.condition = machines, condition
        self.over, self.lost = threading.Event(), False
        self.thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self.over.wait(0.02):
            if self.condition():
                self.machines.cluster.remove_node(self.machines.second, allow_graceful=False)
                self.lost = True
                return

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.over.set()
        self.thread.join()
        if kind is None:
            assert self.lost, "nothing was lost"


@pytest.fixture(scope="module")
def machines() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # whatever this machine has
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with cluster._own_address(ray, on_loopback=True):
            for last in (False, False, True):
                try:
                    machines = Machines()
                    break
                except Exception:  # Ray's own, when a busy machine takes 30 s to start one
                    if last:
                        raise
        yield machines
        machines.cluster.shutdown()


@pytest.fixture(scope="module")
def joined(machines: Machines) -> Any:
    """The machines, with one connection for all tests: commands join and leave by themselves."""
    with cluster._connected(machines.address):
        yield machines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, their clean parts, a model."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("noisy", "clean"):
        (folder / name).mkdir()
    for i in range(6):
        clean = voice(1.0 + 0.1 * i, RATE, seed=i)
        soundfile.write(folder / f"clean/{i}.wav", clean, RATE)
        noisy = 0.7 * clean + 0.05 * hiss(clean.size / RATE, RATE, seed=i)
        soundfile.write(folder / f"noisy/{i}.wav", noisy, RATE)
    gain_model(folder / "model", 0.5)
    return folder


def predict(folder: Path, out: str, *more: str) -> dict[str, bytes]:
    shutil.rmtree(folder / out, ignore_errors=True)
    command = ["predict", str(folder / "noisy"), "-o", str(folder / out), "--model", str(folder / "model")]
    main([*command, *more])
    return {path.name: path.read_bytes() for path in sorted((folder / out).glob("*.wav"))}


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# What the machines import from here.


def denoise_or_die(settings: Any, pair: Any) -> batch.Outcome:
    if pair.source.name == "3.wav":
        os._exit(9)
    return batch._denoise_pair_in_worker(settings, pair)


def denoise_slowly(settings: Any, pair: Any) -> batch.Outcome:
    time.sleep(0.5)
    return batch._denoise_pair_in_worker(settings, pair)


def score_or_die(item: Any) -> Any:
    if item[1].pair.name.startswith("3"):
        os._exit(9)
    return running._numbered(item)


def make_slowly(job: PartJob) -> PartJob:
    time.sleep(0.5)
    return make_part(job)


def make_or_die(job: PartJob) -> PartJob:
    make = ItemMixer.make

    def deadly(self: ItemMixer, slot: Any) -> Any:
        if self.speech[slot.recording].path.name == "deadly.wav":
            os._exit(9)
        return make(self, slot)

    ItemMixer.make = deadly
    try:
        return make_part(job)
    finally:
        ItemMixer.make = make


def process_of(item: int) -> int:
    if item == 5:
        raise DataError("five")
    return os.getpid()


def test_addresses_that_lead_nowhere_are_one_line(tmp_path: Path, capsys) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
        for address, said in (
            (nobody, "nothing listens there; `ray start --head` starts a cluster"),
            ("here", "must be HOST:PORT"),
            ("127.0.0.1:99999", "must be HOST:PORT"),
            ("ray://127.0.0.1:10001", "must be HOST:PORT"),
        ):
            with pytest.raises(AudenoiseError, match=said) as error:
                list(map_in_processes(process_of, [1], 1, ray=address))
            assert address in str(error.value)
            assert "\n" not in str(error.value)


def test_predict_and_evaluate_give_the_bytes_that_they_give_here(
    machines: Machines, folder: Path, monkeypatch
) -> None:
    monkeypatch.chdir(folder)  # relative paths lead to the same files
    here = predict(Path(), "here", "--jobs", "1")
    assert len(here) == 6
    with Watch(os.getpid()) as watch:
        assert predict(Path(), "there", "--ray", machines.address) == here
    assert ray.is_initialized() is False
    if sys.platform == "linux":  # neither where the cluster runs nor where the command joins it
        assert watch.seen
        assert [host for host, _ in watch.seen if not Address(host, 1).is_loopback] == []
    scores = []
    for name, more in (("here.json", ("--jobs", "1")), ("there.json", ("--ray", machines.address))):
        command = ["evaluate", "noisy", "clean", "--model", "model", "--systems", "none", "--metrics"]
        assert main([*command, "si_sdr_db,lsd", "--json", name, "-q", *more]) == 0
        scores.append(Path(name).read_bytes())
    assert scores[0] == scores[1]


def test_a_dataset_is_the_one_that_is_built_here_but_for_what_kills(
    joined: Machines, tmp_path: Path, monkeypatch
) -> None:
    clean, noise = write_corpus(tmp_path)
    common = ["build-dataset", "--clean", str(clean), "--noise", str(noise), "--shard-mb", "1", "-q"]
    assert main([*common, "--out", str(tmp_path / "here"), "--jobs", "1"]) == 0
    assert main([*common, "--out", str(tmp_path / "there"), "--ray", joined.address]) == 0
    here, there = (DatasetInfo.read(tmp_path / name) for name in ("here", "there"))
    for name, side in here.sides.items():
        assert there.sides[name].checksum == side.checksum
    soundfile.write(clean / "deadly.wav", voice(2, RATE, seed=50), RATE)
    monkeypatch.setattr(building, "make_part", make_or_die)
    out = tmp_path / "deadly"
    assert main([*common, "--out", str(out), "--test-split", "0", "--ray", joined.address]) == 0
    skipped = json.loads((out / "dataset.json").read_text())["skipped"]
    assert [Path(each["path"]).name for each in skipped] == ["deadly.wav"]
    assert "2 processes died" in skipped[0]["reason"]
    assert not [path for path in out.rglob("*") if path.suffix == ".trail" or ".partial" in path.name]


def test_workers_stay_and_errors_come_back_as_they_were(joined: Machines) -> None:
    assert len(set(map_in_processes(process_of, [0] * 12, 1, ray=joined.address))) <= 3
    with pytest.raises(DataError, match=r"^five$"):
        list(map_in_processes(process_of, range(8), 1, ray=joined.address))


def test_a_file_that_kills_is_reported_once_and_the_others_are_done(
    joined: Machines, folder: Path, monkeypatch, capsys
) -> None:
    here = predict(folder, "here")
    monkeypatch.setattr(batch, "_denoise_pair_in_worker", denoise_or_die)
    there = predict(folder, "poisoned", "--ray", joined.address)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "3.wav: killed 2 workers" in errors[0]
    assert there == {name: content for name, content in here.items() if name != "3.wav"}


def test_another_version_is_one_line(joined: Machines, monkeypatch) -> None:
    monkeypatch.setattr(cluster.metadata, "version", lambda name: "0.0.1")
    with pytest.raises(AudenoiseError, match=r"has audenoise .* and this machine 0\.0\.1"):
        list(map_in_processes(process_of, [1], 1, ray=joined.address))


def test_a_pair_that_kills_is_left_out_of_the_scores(
    joined: Machines, folder: Path, monkeypatch, capsys
) -> None:
    command = ["evaluate", str(folder / "noisy"), str(folder / "clean"), "--systems", "none", "-q"]
    command += ["--metrics", "si_sdr_db", "--ray", joined.address, "--json", str(folder / "left.json")]
    monkeypatch.setattr(running, "_numbered", score_or_die)
    assert main(command) == 0
    assert capsys.readouterr().out.count("killed 2 workers") <= 1
    scored = json.loads((folder / "left.json").read_text())
    assert scored["left_out"] == [{"name": "3.wav", "reason": "killed 2 workers (it died); left out"}]
    assert set(scored["systems"][0]["pairs"]) == {f"{i}.wav" for i in (0, 1, 2, 4, 5)}


def test_a_cluster_for_the_time_of_the_work_listens_on_the_loopback_alone(folder: Path) -> None:
    here = predict(folder, "here")
    command = ["predict", str(folder / "noisy"), "-o", str(folder / "own"), "--model", str(folder / "model")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "audenoise", *command, "--ray", "local", "-q"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with Watch(process.pid) as watch:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert said == ""
    assert {path.name: path.read_bytes() for path in (folder / "own").glob("*.wav")} == here
    if sys.platform == "linux":
        assert watch.seen
        assert [host for host, _ in watch.seen if not Address(host, 1).is_loopback] == []


def test_what_a_lost_machine_did_is_done_again(joined: Machines, folder: Path, monkeypatch) -> None:
    here = predict(folder, "here")
    monkeypatch.setattr(batch, "_denoise_pair_in_worker", denoise_slowly)
    with joined.lose_second_when(lambda: len(list((folder / "lost").glob("*.wav"))) >= 2):
        assert predict(folder, "lost", "--ray", joined.address) == here


def test_the_shards_of_a_lost_machine_are_made_again(joined: Machines, tmp_path: Path, monkeypatch) -> None:
    if len(joined.cluster.list_all_nodes()) < 2:
        with cluster._own_address(ray, on_loopback=True):
            joined.second = joined.cluster.add_node(**NODE)
    clean, noise = write_corpus(tmp_path)
    for i in range(8):
        soundfile.write(clean / f"more-{i}.wav", voice(3, RATE, seed=60 + i), RATE)
    common = ["build-dataset", "--clean", str(clean), "--noise", str(noise), "--shard-mb", "0.3", "-q"]
    assert main([*common, "--out", str(tmp_path / "here"), "--jobs", "1"]) == 0
    monkeypatch.setattr(building, "make_part", make_slowly)
    out = tmp_path / "there"
    with joined.lose_second_when(lambda: len(list(out.glob(".building/*/*.part"))) >= 1):
        assert main([*common, "--out", str(out), "--ray", joined.address]) == 0
    assert tree(out) == tree(tmp_path / "here")
