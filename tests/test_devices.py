"""Training on several devices and hosts: the same loss curve as on one, and refusals in one line."""

import csv
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from open_ports import Watch
from saved_datasets import mixture, write_dataset
from training_batches import RECURRENT, TINY, batch, tiny

from audenoise.addresses import Address
from audenoise.architectures import build_network
from audenoise.cli import main
from audenoise.denoising_model import DenoisingModel, make_optimizer, precision, with_loss_scale
from audenoise.devices import Devices, find_devices
from audenoise.errors import AudenoiseError, SpecError, TrainingError
from audenoise.hosts import Hosts, _await_others, _report_to_first, join
from audenoise.specs import dump_spec, parse_spec

HERE = Path(__file__).parent
SPEC = {
    **TINY,
    # Several normalisations over the batch, a clipping that is always at work, an average of the weights. No
    # dropout: each copy of TensorFlow's would draw its own.
    "encoder": [{**TINY["encoder"][0], "dropout": 0.0}],
    "training": {**TINY["training"], "steps_per_epoch": 5, "clip_norm": 0.5, "scored_mixtures": 3},
}
# Two CPUs of one machine, in a process that has not looked for devices yet. The last arguments, after `--`,
# are for each of several runs: starting is what takes time.
COMMAND = """
import os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from audenoise.cli import main
common, *runs = " ".join(sys.argv[1:]).split(" -- ")
sys.exit(max(main([*common.split(), *run.split()]) for run in runs))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    train = [mixture(i, 0.6 + 0.1 * (i % 3)) for i in range(8)]
    write_dataset(folder / "dataset", {"train": train, "test": [mixture(100 + i, 1.0) for i in range(7)]})
    (folder / "spec.yaml").write_text(dump_spec(parse_spec(SPEC)), encoding="utf-8")
    return folder


def start(folder: Path, *runs: str, backend: str = "tensorflow", devices: int = 2) -> Any:
    """Start trainings, one after the other, in a process of their own."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": f"{flags} --xla_llvm_disable_expensive_passes=true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", COMMAND, "train", "dataset", "--workers", "0", "--spec", "spec.yaml"]
    for run in runs:
        command += ["--", *run.split()]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    )


def ended(process: Any, seconds: float = 600) -> str:
    try:
        text, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, text
    return text


def assert_same_curve(one: Path, several: Path) -> None:
    """To 1e-4 in the training's loss, and 0.1 dB in what the averaged weights do.

    The loss of the validation is one over fewer examples: seven can't be shared out.
    """
    found = []
    for run in (one, several):
        with (run / "log.csv").open(newline="", encoding="utf-8") as file:
            found.append(list(csv.DictReader(file)))
    assert [len(rows) for rows in found] == [2, 2]
    for name, rtol, atol in (("loss", 1e-4, 0), ("val_si_sdr_db", 0, 0.1)):
        first, second = ([float(row[name]) for row in rows] for rows in found)
        np.testing.assert_allclose(second, first, rtol=rtol, atol=atol, err_msg=name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_copies_on_two_devices_learn_what_one_does(folder: Path) -> None:
    ended(start(folder, "--out tf-1", "--out tf-2 --devices all"))
    assert_same_curve(folder / "tf-1", folder / "tf-2")


def test_two_hosts_with_two_devices_each_learn_what_one_device_does(folder: Path) -> None:
    pytest.importorskip("jax")
    alone = start(folder, "--out jax-1", backend="jax")
    port = free_port()
    hosts = [
        start(
            folder,
            f"--out host-{number} --hosts 2 --host {number} --coordinator 127.0.0.1:{port} --devices all",
            backend="jax",
        )
        for number in (0, 1)
    ]
    with Watch(hosts[0].pid) as first, Watch(hosts[1].pid) as second:
        said = [ended(process) for process in (*hosts, alone)]
    if sys.platform == "linux":  # the collectives too, which connect every host with every other
        for watch in (first, second):
            assert [host for host, _ in watch.seen if not Address(host, 1).is_loopback] == []
        assert port in {number for _, number in first.seen}
    assert_same_curve(folder / "jax-1", folder / "host-0")
    assert "epoch 2/2" in said[0]
    assert "epoch" not in said[1]
    assert not (folder / "host-1").exists()
    assert {"last-2.weights.h5", "best.weights.h5"} <= {path.name for path in (folder / "host-0").iterdir()}


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    Devices(count=2).check(tiny())
    with pytest.raises(SpecError, match=r"training.batch_size: .* 3 devices; choose a multiple of 3. .*: 4$"):
        Devices(count=3).check(tiny())
    with pytest.raises(SpecError, match=r"training.precision: mixed_float16 can't .* several devices"):
        Devices(count=2).check(tiny(precision="mixed_float16"))
    with pytest.raises(SpecError, match=r"training\.precision"):
        tiny(precision="float16")


def test_more_devices_than_there_are_is_one_line(folder: Path, tmp_path: Path, capsys) -> None:
    command = ["train", str(folder / "dataset"), "--spec", str(folder / "spec.yaml"), "--out", str(tmp_path)]
    assert main([*command, "--devices", "99"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(said) == 1
    assert "--devices 99: here are" in said[0]
    assert main([*command, "--devices", "0"]) == 2
    assert find_devices(1) == Devices()


@pytest.mark.parametrize(
    ("examples", "devices", "expected"),
    [
        (1, 1, (1, 1)),
        (6, 1, (6, 3)),
        (5, 1, (6, 3)),
        (8, 1, (8, 4)),
        (9, 1, (9, 3)),
        (5, 2, (8, 4)),
        (1, 2, (2, 2)),
    ],
)
def test_batches_are_of_one_size(examples: int, devices: int, expected: tuple[int, int]) -> None:
    audio = np.ones((examples, 2), np.float32)
    padded, size = Devices(count=devices).in_equal_batches(audio, 4)
    assert (len(padded), size) == expected
    np.testing.assert_array_equal(padded[:examples], audio)
    assert not padded[examples:].any()


def test_each_host_validates_on_its_part_of_every_batch() -> None:
    noisy = np.arange(11)[:, None] * np.ones((1, 3))
    parts = [Devices(count=2, hosts=2, host=i).examples((noisy, -noisy), 4) for i in (0, 1)]
    assert [part[0][:, 0].tolist() for part in parts] == [[0, 1, 4, 5, 8], [2, 3, 6, 7, 9]]
    np.testing.assert_array_equal(parts[0][1], -parts[0][0])
    with pytest.raises(TrainingError, match="1 examples to validate on are too few for 2 devices"):
        Devices(count=2).examples((noisy[:1], noisy[:1]), 4)


def test_hosts_that_cannot_meet_say_so_in_time(monkeypatch) -> None:
    for address in ("nowhere", "127.0.0.1:0", "a b:80"):
        with pytest.raises(AudenoiseError, match=f"--coordinator {address}: must be HOST:PORT"):
            Hosts(address, 2, 1)
    with pytest.raises(TrainingError, match="numbers 0 to 1"):
        Hosts("127.0.0.1:9911", 2, 2)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(TrainingError, match="needs KERAS_BACKEND=jax"):
        join(Hosts("127.0.0.1:9911", 2, 1))
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(TrainingError, match=r"can't be reached .*; start host 0"):
        join(Hosts(f"127.0.0.1:{free_port()}", 2, 1), patience_s=0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TrainingError, match=r"host 0 can't listen there \(the port is in use"):
            join(Hosts(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0), patience_s=0.1)


def meet(number: int, address: str, *, count: int = 2, versions: str = "1") -> str:
    hosts = Hosts(address, count, number)
    try:
        (_report_to_first if number else _await_others)(hosts, versions, 5)
    except TrainingError as error:
        return str(error)
    return "met"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([{"number": 1}, {"number": 2}], {"met"}),
        ([{"number": 1}, {"number": 1}], {"--hosts: two hosts have --host 1"}),
        (
            [{"number": 1}, {"number": 2, "versions": "2"}],
            {"--hosts: host 2 has 2 and 3 hosts, host 0 1 and 3"},
        ),
    ],
)
def test_hosts_meet_or_say_why_not(others: list[dict[str, Any]], said: set[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(meet, 0, address, count=3)
        with socket.socket() as stranger:
            while stranger.connect_ex(Hosts(address, 3, 0).address.place):
                time.sleep(0.02)
            stranger.sendall(b"GET / HTTP/1.1\n")
        rest = [threads.submit(meet, address=address, count=3, **other) for other in others]
        assert {each.result() for each in (first, *rest)} == said


def test_the_first_host_does_not_wait_for_ever() -> None:
    with pytest.raises(TrainingError, match="host 1, 2 of 3 did not come within 0 s"):
        _await_others(Hosts(f"127.0.0.1:{free_port()}", 3, 0), "1", 0.1)


# --- precision ----------------------------------------------------------------------------------------------


def first_losses(name: str) -> tuple[DenoisingModel, list[float]]:
    """A model of a precision, and its losses of the first two steps."""
    spec = parse_spec(RECURRENT)
    keras.utils.set_random_seed(1)
    with precision(name):
        network = build_network(spec)
    model = DenoisingModel(network, spec)
    model.compile(optimizer=with_loss_scale(make_optimizer(spec), name))
    model(batch(0)[0])
    model.optimizer.build(model.trainable_variables)  # the step would be traced twice
    return model, [float(model.train_on_batch(*batch(i), return_dict=True)["loss"]) for i in range(2)]


@pytest.fixture(scope="module")
def expected_losses() -> list[float]:
    return first_losses("float32")[1]


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_spectra_and_loss_in_float32(
    name: str, expected_losses: list[float]
) -> None:
    model, losses = first_losses(name)
    network = model.network
    assert keras.config.dtype_policy().name == "float32"
    assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    assert model.compute_dtype == network.get_layer("denoised").compute_dtype == "float32"
    assert network.get_layer("encoder1_conv1").compute_dtype == name.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(network(np.zeros((1, 4, 65, 2), np.float32)).dtype) == "float32"
    # bfloat16 keeps 8 bits: on processors that multiply in it (AMX) this untrained network is 10 % off.
    np.testing.assert_allclose(losses, expected_losses, rtol=0.15 if name == "mixed_bfloat16" else 0.05)
