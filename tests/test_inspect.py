"""`audenoise inspect`: what is planted is found and named, and nothing else is."""

import csv
import hashlib
import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from saved_datasets import RATE, mixture, write_dataset

from audenoise.cli import main
from audenoise.datasets import DatasetInfo
from audenoise.datasets.description import describe, random_triples
from audenoise.datasets.inspection import Findings, inspect_items
from audenoise.datasets.item_checks import is_clipped
from audenoise.shards import index_shards

Pairs = dict[str, list[tuple[np.ndarray, np.ndarray]]]


def sound_pairs(train: int = 7, test: int = 3) -> Pairs:
    return {
        "train": [mixture(i, 0.5 + 0.1 * i) for i in range(train)],
        "test": [mixture(100 + i, 0.7) for i in range(test)],
    }


def found(folder: Path, *, jobs: int = 1) -> dict[str, list[str]]:
    return inspect_items(DatasetInfo.read(folder), jobs=jobs).lines


def nothing(**but: Any) -> dict[str, list[str]]:
    return {**Findings().lines, **but}


def edit(folder: Path, change: Any) -> None:
    description = json.loads((folder / "dataset.json").read_text())
    change(description)
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pairs]:
    folder = tmp_path_factory.mktemp("inspect") / "sound"
    return folder, write_dataset(folder, sound_pairs(), shards=2)


# --- what is wrong ------------------------------------------------------------------------------------------


def test_nothing_is_found_in_a_sound_dataset(sound: tuple[Path, Pairs], capsys) -> None:
    assert found(sound[0]) == nothing()
    assert main(["inspect", str(sound[0]), "--strict", "--triples", "0"]) == 0
    assert "leaks between the sides: none" in capsys.readouterr().out


def test_recordings_and_voices_on_both_sides_are_named(
    sound: tuple[Path, Pairs], tmp_path: Path, capsys
) -> None:
    folder = tmp_path / "leaky"
    shutil.copytree(sound[0], folder)

    def plant(description: dict[str, Any]) -> None:
        train, test = (description["sides"][name]["sources"] for name in ("train", "test"))
        speech = [source for source in test if source["kind"] == "clean"]
        noise = [source for source in test if source["kind"] == "noise"]
        known = {source["kind"]: source for source in train}
        speech[0]["path"] = known["clean"]["path"]
        noise[0] |= {"path": "/noise/renamed.wav", "sha256": known["noise"]["sha256"]}
        speech[1]["speaker"] = speech[2]["speaker"] = "train-0"
        # The same room, and a noise named as a speaker, are no leaks.
        room = {
            "kind": "rir",
            "path": "/rooms/hall.wav",
            "sha256": "h",
            "duration_s": 1.0,
            "speaker": "train-1",
        }
        train.append(room)
        test.append(room)

    edit(folder, plant)
    lines = found(folder)
    known = json.loads((folder / "dataset.json").read_text())["sides"]["train"]["sources"]
    speech = next(source["path"] for source in reversed(known) if source["kind"] == "clean")
    noise = next(source["path"] for source in reversed(known) if source["kind"] == "noise")
    assert lines == nothing(
        leak=[
            f"{speech}: is on both sides (clean)",
            f"/noise/renamed.wav (test): has the content of {noise} (train)",
            "speaker train-0: is on both sides; in test with /speech/test/1.wav and 1 more",
        ]
    )
    command = ["inspect", str(folder), "--triples", "0"]
    assert main(command) == 0
    assert main([*command, "--strict"]) == 1
    out = capsys.readouterr().out
    assert "leaks between the sides: 3" in out
    assert "/noise/renamed.wav (test): has the content of" in out


def test_silent_and_clipped_items_are_named(tmp_path: Path) -> None:
    pairs = sound_pairs()
    noisy, clean = pairs["train"][0]
    silent = np.zeros_like(clean)
    cut = np.clip(clean / np.abs(clean).max(), -0.5, 0.5) * np.float32(0.3)
    flat = np.clip(noisy / np.abs(noisy).max(), -0.4, 0.4)
    pairs["train"][:6] = [
        (silent, silent),
        (noisy, silent),
        (cut + (noisy - clean), cut),
        (flat, clean),
        (noisy / np.abs(noisy).max() * np.float32(1.5), clean),
        (noisy - clean, silent),
    ]
    folder = tmp_path / "bad"
    write_dataset(folder, pairs, shards=1, rows={"train": {5: {"noise_ratio": 1.0}}})
    lines = found(folder)
    assert lines == nothing(
        silent=[
            "train item 0: the mixture is silent (-300 dBFS)",
            "train item 1: the clean speech is silent (-300 dBFS)",
        ],
        clipped=[
            "train item 2: the clean speech has flat tops",
            "train item 3: the mixture has flat tops",
            "train item 4: the mixture exceeds full scale (peak 1.50)",
        ],
    )
    # Clipping that was asked for is no finding; that of the target is.
    edit(folder, lambda description: description["spec"].update(mixing={"clip": 0.1}))
    assert [line.split(":")[0] for line in found(folder)["clipped"]] == ["train item 2", "train item 4"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_flat_tops_are_seen_at_any_level_and_loud_peaks_are_not(share: float) -> None:
    for seed in range(10):
        noisy, clean = mixture(seed, 3.0)
        assert not is_clipped(noisy)
        assert not is_clipped(clean)
        top = share * np.abs(clean).max()
        assert is_clipped(np.clip(clean, -top, top) * 0.01)
    assert not is_clipped(np.zeros(100))


def test_duplicates_are_named_and_across_the_sides_they_are_leaks(tmp_path: Path) -> None:
    pairs = sound_pairs()
    pairs["train"][4] = pairs["train"][1]
    pairs["train"][6] = pairs["test"][0]
    same = {"clean": "/speech/a.wav", "noise": "/noise/b.wav", "clean_offset_s": 0.0, "noise_offset_s": 1.5}
    alone = {"clean": "/speech/c.wav", "noise": ""}
    folder = tmp_path / "twice"
    rows = {2: same, 3: same, 0: alone, 5: alone}
    write_dataset(folder, pairs, shards=1, rows={"train": rows})
    lines = found(folder)
    assert lines == nothing(
        leak=["train item 6, test item 0 are the same waveforms"],
        duplicate=[
            "train item 1, train item 4 are the same waveforms",
            "train item 2, train item 3 have the same speech and noise at the same offsets",
        ],
    )
    edit(folder, lambda it: [source.update(sha256="s") for source in it["sides"]["test"]["sources"][:2]])
    assert found(folder)["duplicate"][-1] == (
        "/speech/test/0.wav, /speech/test/1.wav in test have the same content"
    )


def with_one_digest(folder: Path) -> None:
    """Give the tables of a dataset the columns that they had before `clean_sha256`."""
    for side in ("train", "test"):
        index, table = index_shards(folder / side), folder / f"{side}.csv"
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for item, row in enumerate(rows):
            del row["clean_sha256"]
            row["stored_sha256"] = hashlib.sha256(index.read_stored(item).tobytes()).hexdigest()
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize("older", [False, True])
def test_changed_bytes_are_found_and_located(
    sound: tuple[Path, Pairs], tmp_path: Path, capsys, older: bool
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(sound[0], folder)
    if older:
        with_one_digest(folder)
        assert found(folder) == nothing()
    shard = sorted((folder / "train").rglob("*.snapshot"))[1]
    content = bytearray(shard.read_bytes())
    content[2000] ^= 4  # the mantissa of a number of the shard's first item
    shard.write_bytes(content)
    lines = found(folder)
    words = "its bytes are not those that were written (sha256 in the table)"
    item = int(np.argmax(index_shards(folder / "train").shard == 1))
    assert 0 < item < 6
    assert lines == nothing(damaged=[f"train item {item} in {shard}: {words}"])
    assert main(["inspect", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "damaged items: 1" in out
    assert "picture" not in out
    content[2000:2040] = b"\xff" * 40
    shard.write_bytes(content)
    assert "aren't finite" in found(folder)["damaged"][0]


def test_findings_do_not_depend_on_the_processes(tmp_path: Path) -> None:
    noisy, clean = mixture(0, 20.0)
    short = [(noisy[i : i + 400], clean[i : i + 400] + np.float32(0.01)) for i in range(0, 330 * 400, 400)]
    short[300] = (np.zeros_like(short[0][0]), np.zeros_like(short[0][0]))
    short[200] = short[10]
    write_dataset(tmp_path / "many", {"train": short, "test": short[50:51]}, shards=1)
    lines = found(tmp_path / "many", jobs=2)
    assert lines == found(tmp_path / "many", jobs=1)
    assert lines["duplicate"] == ["train item 10, train item 200 are the same waveforms"]
    assert lines["leak"] == ["train item 50, test item 0 are the same waveforms"]
    assert lines["silent"] == ["train item 300: the mixture is silent (-300 dBFS)"]


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    pair = [mixture(i, 4.0) for i in range(4)]
    write_dataset(tmp_path / "some", {"train": pair * 5}, shards=2)
    size = sum(path.stat().st_size for path in (tmp_path / "some").rglob("*.snapshot"))
    assert size > 5e6
    info = DatasetInfo.read(tmp_path / "some")
    tracemalloc.start()
    assert len(inspect_items(info).lines["duplicate"]) == 4
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one = size / 20  # an item: at most ten times as much while it is turned into waveforms
    assert peak < 10 * one + 300_000


# --- what is inside -----------------------------------------------------------------------------------------


def test_the_table_says_what_is_inside(sound: tuple[Path, Pairs], capsys) -> None:
    assert main(["inspect", str(sound[0]), "--triples", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line[2:24].strip(): line[24:48].split() for line in lines if line.startswith("  ")}
    assert "8000 Hz" in lines[1]
    assert "n_fft 128" in lines[1]
    assert cells[""] == ["train", "test"]
    assert cells["items"] == ["7", "3"]
    hours = [sum(noisy.size for noisy, _ in sound[1][side]) / RATE / 3600 for side in ("train", "test")]
    assert cells["hours"] == [f"{value:.2f}" for value in hours]
    assert cells["shards"] == ["2", "2"]
    assert cells["speech recordings"] == ["7", "3"]
    assert cells["noise recordings"] == ["3", "3"]
    assert cells["speakers"] == ["2", "2"]
    assert cells["SNR 0 to 5 dB"] == ["2", "1"]
    assert cells["SNR 15 to 20 dB"] == ["1", "0"]
    assert cells["noise class0"] == ["3", "1"]


def test_sides_with_other_snrs_have_them_in_one_table(sound: tuple[Path, Pairs], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(sound[0], folder)
    edit(folder, lambda data: data["sides"]["test"].update(snr_db={"edges": [15, 20, 25], "counts": [1, 2]}))
    edit(folder, lambda data: data["sides"]["train"].update(snr_db={"edges": [0, 5, 10], "counts": [4, 3]}))
    lines = [line.split() for line in describe(DatasetInfo.read(folder)) if "SNR" in line]
    assert [[line[1], line[3], *line[5:7]] for line in lines] == [
        ["0", "5", "4", "0"],
        ["5", "10", "3", "0"],
        ["15", "20", "0", "1"],
        ["20", "25", "0", "2"],
    ]


def test_the_picture_is_seeded_and_nothing_is_overwritten(
    sound: tuple[Path, Pairs], tmp_path: Path, capsys
) -> None:
    picture = tmp_path / "a.png"
    command = ["inspect", str(sound[0]), "--plot"]
    assert main([*command, str(picture)]) == 0
    drawn = imread(picture)
    assert drawn.shape[0] > 1000
    assert drawn.shape[1] == 1800
    assert drawn[..., :3].std() > 0.1
    assert main([*command, str(picture)]) == 1
    assert "exists already; add --overwrite" in capsys.readouterr().err
    assert main([*command, str(picture), "--overwrite", "--seed", "1"]) == 0
    assert np.abs(imread(picture)[: len(drawn)] - drawn[: len(imread(picture))]).max() > 0.1
    assert main([*command, str(tmp_path / "b.png")]) == 0
    np.testing.assert_array_equal(imread(tmp_path / "b.png"), drawn)
    assert main([*command, str(tmp_path / "c.jpg")]) == 2
    copy = tmp_path / "elsewhere" / "mine"
    shutil.copytree(sound[0], copy)
    before = sorted(path.name for path in copy.iterdir())
    assert main(["inspect", str(copy)]) == 0
    assert (tmp_path / "elsewhere" / "mine-inspect.png").is_file()
    assert sorted(path.name for path in copy.iterdir()) == before


def test_exported_recordings_are_the_mixtures_and_their_parts(
    sound: tuple[Path, Pairs], tmp_path: Path, capsys
) -> None:
    command = ["inspect", str(sound[0]), "--triples", "0", "--export", "4", "--out", str(tmp_path / "listen")]
    assert main([*command, "--seed", "3"]) == 0
    files = sorted((tmp_path / "listen").iterdir())
    assert len(files) == 12
    for path in files:
        side, item, what = path.stem.split("-")
        noisy, clean = sound[1][side][int(item)]
        expected = {"noisy": noisy, "clean": clean, "noise": noisy - clean}[what]
        audio, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        assert audio.shape == expected.shape
        assert np.abs(audio - expected).max() < 1e-3 * np.abs(noisy).max()
    assert main(command) == 1
    assert "is not empty" in capsys.readouterr().err
    assert len(list((tmp_path / "listen").iterdir())) == 12
    assert main(["inspect", str(sound[0]), "--export", "2"]) == 2
    everything = list(random_triples(DatasetInfo.read(sound[0]), 99, 0))
    assert len(everything) == 10
    assert {triple.side for triple in everything} == {"train", "test"}


# --- what can't be looked at --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "is no dataset"),
        (lambda folder: (folder / "dataset.json").write_text("{"), r"dataset.json: is damaged"),
        (lambda folder: shutil.rmtree(folder / "test"), "test: is missing"),
        (lambda folder: (folder / "train.csv").unlink(), "train.csv: cannot be read"),
        (lambda folder: _cut_rows(folder / "train.csv"), "train.csv: has not the 7 rows"),
        (lambda folder: _truncate(folder / "test"), "snapshot: the shard is damaged or cut short"),
        (lambda folder: shutil.rmtree(next((folder / "train").glob("*/"))), "train: holds no shards"),
    ],
)
def test_what_is_no_whole_dataset_is_one_line(
    harm: Any, words: str, sound: tuple[Path, Pairs], tmp_path: Path, capsys
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sound[0], folder)
    harm(folder)
    assert main(["inspect", str(folder)]) == 1
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len([line for line in error.splitlines() if line.startswith("audenoise: error")]) == 1
    assert not (tmp_path / "copy-inspect.png").exists()


def test_an_unfinished_dataset_and_a_missing_one_are_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "begun" / ".building").mkdir(parents=True)
    for name, words in (("begun", "is not finished"), ("nowhere", "no such folder")):
        assert main(["inspect", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err


def test_a_dataset_with_one_side_is_shown(tmp_path: Path, capsys) -> None:
    write_dataset(tmp_path / "one", {"train": sound_pairs()["train"]}, shards=1)
    assert main(["inspect", str(tmp_path / "one"), "--triples", "1", "--strict"]) == 0
    assert "nothing is held out: there is no test side" in capsys.readouterr().out


def _cut_rows(table: Path) -> None:
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))


def _truncate(side: Path) -> None:
    shard = next(side.rglob("*.snapshot"))
    shard.write_bytes(shard.read_bytes()[:-50])
