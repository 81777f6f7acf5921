"""Datasets built, interrupted, continued and loaded."""

import csv
import hashlib
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from recordings import hiss, voice

from audenoise.datasets import (
    DatasetInfo,
    Inputs,
    build_dataset,
    folders_to_vectors,
    load_dataset,
    load_spectrograms,
    load_vectors,
    make_spec,
    pairs_to_vectors,
    save_dataset,
    vectors_to_spectrograms,
)
from audenoise.datasets.info import COLUMNS
from audenoise.errors import DataError
from audenoise.mixing import active_rms, rms
from audenoise.sources import find_recordings
from audenoise.sources.excerpts import length_at, read_excerpt
from audenoise.sources.items import PEAK
from audenoise.sources.stored import spectrogram, to_stored
from audenoise.sources.vectors import iterate_vectors

RATE = 8000
STFT: dict[str, Any] = {"n_fft": 128, "hop_length": 64}
SPEC = make_spec(
    sample_rate=RATE, stft=STFT, test_split=0.25, mixtures=2, max_duration_s=1.5, shard_mb=0.3, seed=7
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(8):
        path = folder / f"clean/s{i % 4}/{i}.{('wav', 'flac')[i % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(1 + i / 2, 16000, seed=i), 16000)
    for i in range(8):
        path = folder / f"noise/{('fan', 'rain')[i % 2]}/{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, hiss(0.5 + i, RATE, seed=50 + i), RATE)
    return Inputs(clean=(folder / "clean",), noise=(folder / "noise",))


@pytest.fixture(scope="module")
def built(corpus: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "dataset"
    build_dataset(out, corpus, SPEC, jobs=2)
    return out


def tree(folder: Path) -> dict[str, str]:
    """Path → checksum of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def raw_items(folder: Path) -> list[Any]:
    import tensorflow as tf

    return list(tf.data.Dataset.load(str(folder)).as_numpy_iterator())


def test_tensorflow_loads_it_plainly(built: Path) -> None:
    import tensorflow as tf

    info = DatasetInfo.read(built)
    for side in ("train", "test"):
        dataset = tf.data.Dataset.load(str(built / side))
        assert dataset.element_spec == (tf.TensorSpec((None, 65, 2), tf.float16),) * 2
        assert int(dataset.cardinality()) == info.sides[side].items == len(list(dataset))
        digests = [
            [hashlib.sha256(each.tobytes()).hexdigest() for each in pair] for pair in raw_items(built / side)
        ]
        assert sorted(digests) == sorted([row["sha256"], row["clean_sha256"]] for row in info.rows(side))


def test_every_item_is_the_mixture_that_its_row_describes(built: Path) -> None:
    """From the sources, by the formula, to the stored numbers."""
    info = DatasetInfo.read(built)
    for side in ("train", "test"):
        sources = {
            each.path: find_recordings([each.path])[0][0] for each in info.sides[side].sources
        }  # fmt: skip
        for row, (noisy, clean) in zip(info.rows(side), load_spectrograms(built, side), strict=True):
            n_samples = int(row["samples"])
            assert n_samples == round(float(row["duration_s"]) * RATE) <= 1.5 * RATE
            start = round(float(row["clean_offset_s"]) * RATE)
            speech = read_excerpt(sources[row["clean"]], start, n_samples, sample_rate=RATE)
            source = sources[row["noise"]]
            whole = read_excerpt(source, 0, length_at(source, RATE), sample_rate=RATE)
            offset = round(float(row["noise_offset_s"]) * RATE)
            noise = np.take(whole, offset + np.arange(n_samples), mode="wrap")
            gain = active_rms(speech, RATE) / rms(noise) * 10 ** (-float(row["snr_db"]) / 20)
            mixture = speech + gain * noise
            scale = min(1, PEAK / np.abs(mixture).max(), PEAK / np.abs(speech).max())
            for audio, stored in ((scale * mixture, noisy), (scale * speech, clean)):
                truth = spectrogram(audio.astype(np.float32), info.stft)
                assert np.abs(stored.numpy() - truth).max() < 1e-3 * np.abs(truth).max()
            assert row["label"] == Path(row["noise"]).parent.name


def test_the_waveforms_come_back(built: Path) -> None:
    info = DatasetInfo.read(built)
    for row, (noisy, clean) in zip(info.rows("train"), load_vectors(built), strict=True):
        assert noisy.size == clean.size == int(row["samples"])
        assert np.abs(noisy).max() == pytest.approx(float(row["noisy_peak"]), abs=1e-3)
        assert 20 * np.log10(rms(clean)) == pytest.approx(float(row["clean_rms_db"]), abs=0.01)


def test_the_description_is_true(built: Path, corpus: Inputs) -> None:
    info = DatasetInfo.read(built)
    data = json.loads((built / "dataset.json").read_text())
    assert data["complete"]
    assert data["spec"]["stft"] == {"n_fft": 128, "hop_length": 64, "win_length": 128, "window": "sqrt_hann"}
    assert data["spec"]["seed"] == 7
    assert (info.stft.sample_rate, info.stft.n_fft, info.stft.scale) == (RATE, 128, 2**15)
    assert info.skipped == ()
    for side, described in info.sides.items():
        rows = list(info.rows(side))
        assert list(rows[0]) == list(COLUMNS)
        assert [int(row["item"]) for row in rows] == list(range(described.items))
        assert sorted({int(row["shard"]) for row in rows}) == list(range(described.shards))
        hours = sum(int(row["samples"]) for row in rows) / RATE / 3600
        assert described.hours == pytest.approx(hours, abs=1e-6)
        assert sum(described.snr_db.counts) == described.items
        assert described.snr_db.edges[0] >= -5
        assert described.snr_db.edges[-1] <= 20
        assert sum(described.labels.values()) == described.items
        digest = hashlib.sha256("".join(row["sha256"] + row["clean_sha256"] for row in rows).encode())
        assert described.checksum == digest.hexdigest()
        used = {row["clean"] for row in rows} | {row["noise"] for row in rows}
        assert {source.path for source in described.sources} == used
        for source in described.sources:
            assert source.sha256 == hashlib.sha256(Path(source.path).read_bytes()).hexdigest()
    assert info.sides["train"].shards > 2
    train, test = ({source.path for source in side.sources} for side in info.sides.values())
    assert not train & test


def test_mixtures_of_a_recording_have_other_noises(built: Path) -> None:
    rows = list(DatasetInfo.read(built).rows("train"))
    noises: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        noises.setdefault((row["clean"], row["clean_offset_s"]), []).append(row["noise"])
    assert all(len(used) == 2 == len(set(used)) for used in noises.values())


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(
    built: Path, corpus: Inputs, tmp_path: Path
) -> None:
    """All files, TensorFlow's among them."""
    build_dataset(tmp_path / "one", corpus, SPEC, jobs=1)
    assert tree(tmp_path / "one") == tree(built)
    build_dataset(tmp_path / "three", corpus, SPEC, jobs=3)
    assert tree(tmp_path / "three") == tree(built)
    other = build_dataset(tmp_path / "seed", corpus, SPEC.model_copy(update={"seed": 8}), jobs=2)
    assert other.sides["train"].checksum != DatasetInfo.read(built).sides["train"].checksum


def test_a_finished_dataset_is_left_alone_and_another_refused(
    built: Path, corpus: Inputs, tmp_path: Path
) -> None:
    before, said = tree(built), []
    build_dataset(built, corpus, SPEC, report=said.append)
    assert "finished already" in said[0]
    with pytest.raises(DataError, match=r"holds a dataset that was asked for otherwise: seed was 7, is 8\."):
        build_dataset(built, corpus, SPEC.model_copy(update={"seed": 8}))
    assert tree(built) == before
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="exists and is no dataset"):
        build_dataset(tmp_path, corpus, SPEC)
    assert tree(tmp_path).keys() == {"letter.txt"}


_KILLED = """
import sys
from pathlib import Path
from audenoise.datasets import Inputs, build_dataset, make_spec
if __name__ == "__main__":
    out, clean, noise = map(Path, sys.argv[1:])
    spec = make_spec(sample_rate=8000, stft={"n_fft": 128, "hop_length": 64}, test_split=0.25, mixtures=2,
                     max_duration_s=1.5, shard_mb=0.3, seed=7)
    build_dataset(out, Inputs(clean=(clean,), noise=(noise,)), spec, jobs=2)
"""


def has(out: Path, pattern: str) -> bool:
    return any(out.glob(f".building/{pattern}"))


@pytest.mark.parametrize("moment", ["blueprint.json", "train/*.part", "train/*.snapshot", "final/*"])
def test_killed_at_any_moment_it_continues_to_the_same_bytes(
    moment: str, built: Path, corpus: Inputs, tmp_path: Path
) -> None:
    out, script = tmp_path / "dataset", tmp_path / "build.py"
    script.write_text(_KILLED)
    command = [sys.executable, str(script), str(out), str(corpus.clean[0]), str(corpus.noise[0])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not has(out, moment) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (out / "dataset.json").exists():
        with pytest.raises(DataError, match=r"not finished; the same build-dataset command continues it"):
            DatasetInfo.read(out)
        otherwise = (
            "unfinished dataset that was asked for otherwise: seed was 7, is 8. Give the same options "
        )
        with pytest.raises(
            DataError, match=f"{otherwise}to continue it, another folder, or remove this one to start over"
        ):
            build_dataset(out, corpus, SPEC.model_copy(update={"seed": 8}))
    build_dataset(out, corpus, SPEC, jobs=2)
    assert tree(out) == tree(built)


def test_an_interruption_does_nothing_twice(corpus: Inputs, built: Path, tmp_path: Path, monkeypatch) -> None:
    """A build that fails at its third shard has two to keep; the next one makes the others only."""
    from audenoise.datasets import building

    real, made = building.map_in_processes, []

    def break_off(function, jobs, n_jobs, **engine: Any):
        for i, job in enumerate(real(function, jobs, n_jobs, **engine)):
            if i == 2:
                raise KeyboardInterrupt
            made.append(job)
            yield job

    monkeypatch.setattr(building, "map_in_processes", break_off)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(tmp_path / "dataset", corpus, SPEC, jobs=1)
    kept = {(job.side, job.shard) for job in made}
    assert len(kept) == 2

    def count(function, jobs, n_jobs, **engine: Any):
        assert kept.isdisjoint((job.side, job.shard) for job in jobs)
        return real(function, jobs, n_jobs, **engine)

    monkeypatch.setattr(building, "map_in_processes", count)
    build_dataset(tmp_path / "dataset", corpus, SPEC, jobs=1)
    assert tree(tmp_path / "dataset") == tree(built)


def test_processes_start_while_headers_are_read(corpus: Inputs, tmp_path: Path, monkeypatch) -> None:
    """They end with a build that fails before there is work for them; with one job none is started."""
    from audenoise.workers import Workers

    started: list[Any] = []

    def start(self: Workers, function: Any) -> None:
        started.append(function)
        real(self, function)

    real = Workers.start
    monkeypatch.setattr(Workers, "start", start)
    before = set(multiprocessing.active_children())
    impossible = SPEC.model_copy(update={"mixtures": 50})
    for jobs in (1, 2):
        with pytest.raises(DataError, match="need as many different noises"):
            build_dataset(tmp_path / "dataset", corpus, impossible, jobs=jobs)
        assert bool(started) == (jobs == 2)
    assert set(multiprocessing.active_children()) == before
    assert not (tmp_path / "dataset").exists()


def test_a_longer_part_that_was_saved_is_written_over(built: Path, corpus: Inputs, tmp_path: Path) -> None:
    """Nothing of what it held comes into the dataset, and one process makes all shards in the same file."""
    used = tmp_path / "dataset/.building/train/000099.used"
    used.parent.mkdir(parents=True)
    used.write_bytes(bytes(5_000_000))
    build_dataset(tmp_path / "dataset", corpus, SPEC, jobs=1)
    assert tree(tmp_path / "dataset") == tree(built)


def test_two_builds_do_not_meet_in_one_folder(corpus: Inputs, tmp_path: Path) -> None:
    lock = tmp_path / "dataset/.building/lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(DataError, match="another process is building this dataset"):
        build_dataset(tmp_path / "dataset", corpus, SPEC)


def test_changed_recordings_are_not_mixed_into_an_old_build(tmp_path: Path, monkeypatch) -> None:
    from audenoise.datasets import building

    for i in range(3):
        for kind, audio in (("clean", voice(1, RATE, seed=i)), ("noise", hiss(1, RATE, seed=i))):
            (tmp_path / kind).mkdir(exist_ok=True)
            soundfile.write(tmp_path / kind / f"{i}.wav", audio, RATE)
    inputs = Inputs(clean=(tmp_path / "clean",), noise=(tmp_path / "noise",))

    spec = SPEC.model_copy(update={"mixtures": 1})

    def fail(*_: Any, **_engine: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "map_in_processes", fail)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(tmp_path / "out", inputs, spec, jobs=1)
    soundfile.write(tmp_path / "clean/0.wav", voice(1, RATE, seed=99), RATE)
    with pytest.raises(DataError, match="the recordings have changed since this dataset was begun"):
        build_dataset(tmp_path / "out", inputs, spec, jobs=1)


def test_a_disk_that_is_too_small_is_told_before_anything_is_mixed(
    corpus: Inputs, tmp_path: Path, monkeypatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 500_000))
    with pytest.raises(DataError, match=r"needs 0\.\d\d GB, 0\.00 GB are free"):
        build_dataset(tmp_path / "out", corpus, SPEC, jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_size_is_foretold(built: Path, corpus: Inputs) -> None:
    said: list[str] = []
    shutil.rmtree(built.parent / "again", ignore_errors=True)
    build_dataset(built.parent / "again", corpus, SPEC, jobs=1, report=said.append)
    sizes = [line.split()[-2].replace(",", "") for line in said if line.startswith(("train:", "test:"))]
    size = sum(path.stat().st_size for path in built.rglob("*.snapshot"))
    assert sum(map(float, sizes)) == pytest.approx(size / 1e6, abs=1.1)
    (few,) = [line for line in said if "to test on" in line]
    assert few.startswith("only ")


@pytest.fixture
def bad_corpus(tmp_path: Path) -> Inputs:
    """Four good voices and noises, and of each kind one that is seen to be bad at once, one when decoded."""
    for kind, make in (("clean", voice), ("noise", hiss)):
        (tmp_path / kind).mkdir()
        for i in range(4):
            soundfile.write(tmp_path / kind / f"{i}.wav", make(2, RATE, seed=i), RATE)
        (tmp_path / kind / "empty.wav").write_bytes(b"")
        broken = tmp_path / kind / "broken.flac"
        soundfile.write(broken, hiss(2, RATE, seed=30), RATE)
        data = bytearray(broken.read_bytes())
        data[len(data) // 3 : len(data) // 3 + 500] = bytes(500)
        broken.write_bytes(bytes(data))
    soundfile.write(tmp_path / "clean/silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(tmp_path / "clean/short.wav", voice(0.2, RATE, seed=8), RATE)
    nan = np.append(hiss(1, RATE, seed=9), np.nan)
    soundfile.write(tmp_path / "clean/nan.wav", nan, RATE, subtype="FLOAT")
    return Inputs(clean=(tmp_path / "clean",), noise=(tmp_path / "noise",))


def test_bad_files_are_skipped_and_named(bad_corpus: Inputs, tmp_path: Path) -> None:
    said: list[str] = []
    spec = SPEC.model_copy(update={"test_split": 0.0, "mixtures": 5})
    info = build_dataset(tmp_path / "out", bad_corpus, spec, jobs=2, report=said.append)
    reasons = {Path(path).relative_to(tmp_path).as_posix(): reason for path, reason in info.skipped}
    assert reasons.keys() == {
        "clean/empty.wav", "clean/broken.flac", "clean/silent.wav", "clean/short.wav", "clean/nan.wav",
        "noise/empty.wav", "noise/broken.flac",
    }  # fmt: skip
    assert "NaN" in reasons["clean/nan.wav"]
    assert "shorter than 0.5 s" in reasons["clean/short.wav"]
    assert "skipped 7 files" in "\n".join(said)
    assert "clean/nan.wav" in "\n".join(said)
    assert {Path(source.path).name for source in info.sides["train"].sources} == {
        f"{i}.wav" for i in range(4)
    }
    assert info.sides["train"].items == 4 * 2 * 5


def test_strict_makes_them_an_error(bad_corpus: Inputs, tmp_path: Path) -> None:
    strict = SPEC.model_copy(update={"strict": True, "test_split": 0.0})
    with pytest.raises(DataError, match=r"clean/empty.wav: is empty .* \(strict; "):
        build_dataset(tmp_path / "out", bad_corpus, strict, jobs=1)
    assert not (tmp_path / "out").exists()
    for name in ("clean/empty.wav", "clean/short.wav", "noise/empty.wav"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"\(strict\)"):  # found while mixing
        build_dataset(tmp_path / "out", bad_corpus, strict, jobs=1)
    with pytest.raises(DataError, match="not finished"):
        DatasetInfo.read(tmp_path / "out")


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    silence = np.zeros(RATE), np.zeros(2 * RATE)
    files = {"clean/a": silence[0], "clean/b": silence[1], "noise/a": hiss(1, RATE, seed=1)}
    for name, audio in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", audio, RATE)
    inputs = Inputs(clean=(tmp_path / "clean",), noise=(tmp_path / "noise",))
    with pytest.raises(DataError, match=r"noise: there is only one recording .*; add another one, or use"):
        build_dataset(tmp_path / "out", inputs, SPEC)
    spec = SPEC.model_copy(update={"test_split": 0.0, "mixtures": None})
    with pytest.raises(DataError, match=r"train: no item could be made; .*is silent"):
        build_dataset(tmp_path / "out", inputs, spec, jobs=1)
    with pytest.raises(DataError, match=r"2 mixtures of each recording need as many .*, there are 1"):
        build_dataset(tmp_path / "out2", inputs, SPEC.model_copy(update={"test_split": 0.0}))
    (tmp_path / "empty").mkdir()
    nothing = Inputs(clean=(tmp_path / "noise",), noise=(tmp_path / "empty",))
    with pytest.raises(DataError, match=r"noise: .*empty holds no usable recording"):
        build_dataset(tmp_path / "out2", nothing, SPEC.model_copy(update={"test_split": 0.0}))


def test_voices_are_on_one_side_only(corpus: Inputs, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"speakers": "folder", "split_by": "speaker", "mixtures": 1})
    info = build_dataset(tmp_path / "out", corpus, spec, jobs=1)
    voices = [{row["speaker"] for row in info.rows(side)} for side in ("train", "test")]
    assert not voices[0] & voices[1]
    assert voices[0] | voices[1] == {"s0", "s1", "s2", "s3"}
    one = Inputs(clean=(corpus.clean[0] / "s0",), noise=corpus.noise)
    table = tmp_path / "who.csv"
    table.write_text("file,speaker\n0,anna\n4,anna\n")
    with pytest.raises(DataError, match=r"all 2 recordings are of one speaker \(anna\)"):
        build_dataset(tmp_path / "none", one, SPEC.model_copy(update={"speakers": str(table)}))


def test_test_folders_of_their_own(corpus: Inputs, tmp_path: Path) -> None:
    clean, noise = corpus.clean[0], corpus.noise[0]
    inputs = Inputs(
        clean=(clean,), noise=(noise / "fan",), test_clean=(clean / "s3",), test_noise=(noise / "rain",)
    )
    info = build_dataset(tmp_path / "out", inputs, SPEC, jobs=1)
    assert {row["label"] for row in info.rows("train")} == {"fan"}
    assert {row["label"] for row in info.rows("test")} == {"rain"}
    assert not any("/s3/" in row["clean"] for row in info.rows("train"))
    assert {Path(path).parent.name for path, _ in info.skipped} == {"s3"}
    lonely = Inputs(inputs.clean, inputs.noise, test_noise=inputs.test_noise)
    with pytest.raises(DataError, match="test clean: give test folders of both, or of neither"):
        build_dataset(tmp_path / "o", lonely, SPEC)
    takes = Inputs((clean / "s0/0.wav",), inputs.noise, test_clean=(clean / "s0/4.wav",), test_noise=(noise,))
    table = tmp_path / "who.csv"
    table.write_text("file,speaker\n0,anna\n4,anna\n")
    with pytest.raises(DataError, match="speaker anna is on both sides"):
        build_dataset(tmp_path / "o", takes, SPEC.model_copy(update={"speakers": str(table)}))


@pytest.fixture
def parallel(tmp_path: Path) -> Path:
    """Twelve pairs of three voices, VoiceBank's names; a table of them as well."""
    rows = []
    for i in range(12):
        speech = voice(2, RATE, seed=i)
        noisy = speech + 0.5 * hiss(2, RATE, seed=i + 40)
        side = "testset" if i % 3 == 2 else "trainset_28spk"
        name = f"p22{i % 3}_{i:03d}.wav"
        for kind, audio in (("clean", speech), ("noisy", noisy)):
            folder = tmp_path / f"vb/{kind}_{side}_wav"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name, audio, RATE, subtype="FLOAT")
        rows.append((f"vb/noisy_{side}_wav/{name}", f"vb/clean_{side}_wav/{name}"))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("noisy", "clean"), *rows])
    return tmp_path


def test_pairs_become_a_dataset(parallel: Path) -> None:
    (parallel / "vb/log_testset.txt").write_text("p222_002 bus 5\nnonsense\np222_005 cafe 5\n")
    info = build_dataset(parallel / "out", Inputs(pairs=parallel / "vb"), SPEC, jobs=2)
    assert {row["speaker"] for row in info.rows("train")} == {"vctk-p220", "vctk-p221"}
    assert {row["speaker"] for row in info.rows("test")} == {"vctk-p222"}
    assert info.sides["test"].labels.keys() >= {"bus", "cafe"}
    assert {row["label"] for row in info.rows("test")} == {"bus", "cafe", ""}
    assert [(Path(path).name, reason[:6]) for path, reason in info.skipped] == [("log_testset.txt", "line 2")]
    for side in ("train", "test"):
        for row, (noisy, clean) in zip(info.rows(side), load_vectors(parallel / "out", side), strict=True):
            start = round(float(row["clean_offset_s"]) * RATE)
            for path, audio in ((row["noise"], noisy), (row["clean"], clean)):
                truth, _ = soundfile.read(path, dtype="float32")
                assert np.abs(audio - truth[start : start + audio.size]).max() < 1e-3
            noise = noisy - clean
            snr_db = 20 * np.log10(active_rms(clean, RATE) / rms(noise))
            assert float(row["snr_db"]) == pytest.approx(snr_db, abs=0.05)


def test_pairs_in_a_table_or_two_folders_are_split(parallel: Path) -> None:
    info = build_dataset(parallel / "a", Inputs(pairs=parallel / "pairs.csv"), SPEC, jobs=1)
    voices = [{row["speaker"] for row in info.rows(side)} for side in ("train", "test")]
    assert not voices[0] & voices[1]
    two = Inputs(
        clean=(parallel / "vb/clean_trainset_28spk_wav",), noisy=parallel / "vb/noisy_trainset_28spk_wav"
    )
    info = build_dataset(parallel / "b", two, SPEC, jobs=1)
    assert {row["speaker"] for row in info.rows("train")} | {row["speaker"] for row in info.rows("test")} == {
        "vctk-p220", "vctk-p221",
    }  # fmt: skip


def test_a_late_recording_is_shifted_back(tmp_path: Path) -> None:
    """At a rate of its own: 441 samples at 44.1 kHz are 10 ms, 80 samples at 8 kHz."""
    for i in range(3):
        speech = voice(2, 44100, seed=i)
        late = np.concatenate([np.zeros(441, np.float32), speech])[: speech.size]
        for kind, audio in (("clean", speech), ("noisy", late + 0.01 * hiss(2, 44100, seed=i))):
            (tmp_path / kind).mkdir(exist_ok=True)
            soundfile.write(tmp_path / kind / f"{i}.wav", audio, 44100)
    inputs = Inputs(clean=(tmp_path / "clean",), noisy=tmp_path / "noisy")
    with pytest.raises(DataError, match=r"none of 3 pairs can be used; .* lags the clean one by 441 samples"):
        build_dataset(tmp_path / "out", inputs, SPEC)
    build_dataset(tmp_path / "out", inputs, SPEC.model_copy(update={"align": True}), jobs=1)
    for noisy, clean in load_vectors(tmp_path / "out"):
        assert rms((noisy - clean)[:-200]) < 0.05 * rms(clean)


def test_inputs_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    here = (tmp_path,)
    for inputs, message in (
        (Inputs(clean=here), "noise: give a folder"),
        (Inputs(noise=here), "clean speech: give a folder"),
        (Inputs(clean=here, noise=here, noisy=tmp_path), "are noisy already"),
        (Inputs(noisy=tmp_path), "needs one folder of clean"),
        (Inputs(pairs=tmp_path, clean=here), "leave clean and noisy out"),
    ):
        with pytest.raises(DataError, match=message):
            build_dataset(tmp_path / "out", inputs)
        assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Half an hour of speech and of noise, whose samples alone take 115 MB each, in pieces of 5 s."""
    (tmp_path / "long").mkdir()
    for name in ("speech", "noise"):
        with soundfile.SoundFile(tmp_path / f"long/{name}.wav", "w", 16000, 1) as file:
            for i in range(30):
                file.write(hiss(60, 16000, seed=i + 100 * (name == "noise")))
    script = """
import resource, sys
from pathlib import Path
from audenoise.sources.inputs import Side
from audenoise.sources.parts import PartJob, make_part, write_blueprint
from audenoise.sources.planning import plan_side
from audenoise.sources.recordings import find_recordings
from audenoise.sources.settings import make_spec
folder = Path(sys.argv[1])
found, _ = find_recordings([folder / "long"])
spec = make_spec(max_duration_s=5)
side = Side((found[1],), (found[0],))
plan = plan_side(side.lengths(16000), stored=spec.stored, max_duration_s=5, mixtures=1, hours=None, noises=1,
                 shard_mb=64, seed=(0, 0), what="train")
write_blueprint(folder, spec, sides={"train": side}, plans={"train": plan}, cache_noise=False)
first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make_part(PartJob(folder, "train", 0))
small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for shard in range(1, plan.n_shards):
    make_part(PartJob(folder, "train", shard))
print((small - first) / 1024, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - small) / 1024)
print("tensorflow" in sys.modules, "keras" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    first, later = map(float, lines[0].split())
    assert first < 100
    assert later < 30
    assert lines[1] == "False False"  # what mixes loads no framework


def test_unfinished_and_foreign_folders_are_not_read(tmp_path: Path, built: Path) -> None:
    with pytest.raises(DataError, match=r"is no dataset \(dataset\.json is missing\)"):
        DatasetInfo.read(tmp_path)
    for text, message in (
        ("{", "is damaged"),
        ("[]", "format version None"),
        ('{"format_version": 2}', "format version 2, this audenoise reads 1"),
        ('{"format_version": 1, "complete": false}', "complete"),
    ):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(DataError, match=message):
            DatasetInfo.read(tmp_path)
    shutil.copytree(built, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/test")
    with pytest.raises(DataError, match="copy/test: is missing"):
        DatasetInfo.read(tmp_path / "copy")
    with pytest.raises(DataError, match="has no side 'valid', only train, test"):
        DatasetInfo.read(built).side("valid")


# Step by step


def test_steps_make_what_the_build_makes(corpus: Inputs, tmp_path: Path) -> None:
    vectors = folders_to_vectors(corpus.clean[0], corpus.noise[0], sample_rate=RATE, seed=3, mixtures=2)
    spectrograms = vectors_to_spectrograms(vectors, **STFT)
    save_dataset(spectrograms, tmp_path / "saved")
    spec = make_spec(sample_rate=RATE, stft=STFT, seed=3, mixtures=2, test_split=0.0)
    truth = list(iterate_vectors(corpus, spec))
    assert len(truth) == 16
    for again in range(2):  # all of it can be read again
        for (noisy, clean), vector in zip(truth, vectors, strict=True):
            np.testing.assert_array_equal(noisy, vector[0].numpy(), err_msg=str(again))
            np.testing.assert_array_equal(clean, vector[1].numpy())
    for (noisy, clean), pair in zip(truth, load_dataset(tmp_path / "saved"), strict=True):
        for audio, spectrum in ((noisy, pair[0].numpy()), (clean, pair[1].numpy())):
            exact = spectrogram(audio, spec.stored)
            assert spectrum.dtype == np.complex64
            assert np.abs(spectrum - exact).max() < 5e-4 * np.abs(exact).max()
    import tensorflow as tf

    build_dataset(tmp_path / "built", corpus, spec, jobs=1)
    # The order is another, and a transform of many frames at once may round otherwise in the last bit.
    stored = [to_stored(spectrogram(np.stack(pair), spec.stored)) for pair in truth]
    built = [
        np.stack([*pair]) for pair in tf.data.Dataset.load(str(tmp_path / "built/train")).as_numpy_iterator()
    ]
    ordered = [
        sorted(each, key=lambda pair: np.square(pair, dtype=np.float64).sum()) for each in (stored, built)
    ]
    for expected, found in zip(*ordered, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_plain_functions_name_what_they_leave_out(bad_corpus: Inputs) -> None:
    folders = bad_corpus.clean[0], bad_corpus.noise[0]
    vectors = folders_to_vectors(*folders, sample_rate=RATE, mixtures=5)
    with pytest.warns(UserWarning, match="left out") as told:
        made = list(vectors)
    assert len(made) == 4 * 5
    named = {str(each.message).split(": left out: ")[0] for each in told if "left out" in str(each.message)}
    assert {Path(path).relative_to(folders[0].parent).as_posix() for path in named} == {
        "clean/empty.wav", "clean/broken.flac", "clean/silent.wav", "clean/short.wav", "clean/nan.wav",
        "noise/empty.wav", "noise/broken.flac",
    }  # fmt: skip
    with pytest.raises(Exception, match=r"empty.wav: is empty .*strict"):
        list(folders_to_vectors(*folders, sample_rate=RATE, strict=True))


def test_saving_wants_pairs_and_a_free_name(tmp_path: Path) -> None:
    pair = (np.ones((3, 5), np.complex64), np.ones((3, 5), np.complex64))
    save_dataset([pair], tmp_path / "a")
    with pytest.raises(DataError, match="exists already"):
        save_dataset([pair], tmp_path / "a")
    with pytest.raises(DataError, match="nothing to save"):
        save_dataset([], tmp_path / "b")
    with pytest.raises(DataError, match="alike"):
        save_dataset([(pair[0], pair[1][:2])], tmp_path / "b")
    with pytest.raises(DataError, match="alike"):
        save_dataset([pair, pair, (pair[0], pair[1][:2])], tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    with pytest.raises(DataError, match="is no saved dataset"):
        load_dataset(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_what_is_saved_alone_is_told_from_a_dataset(tmp_path: Path, built: Path) -> None:
    spectrum = np.ones((3, 5), np.complex64)
    save_dataset([(spectrum, spectrum)], tmp_path / "alone")
    with pytest.raises(
        DataError, match=r"alone: holds spectrograms alone, .*load_dataset .*sample_rate.*build-da"
    ):
        DatasetInfo.read(tmp_path / "alone")
    with pytest.raises(DataError, match=f"train: is one side of a dataset; name the whole one, {built}$"):
        DatasetInfo.read(built / "train")
    sides = f"{built / 'train'} or {built / 'test'}"
    with pytest.raises(DataError, match=f"is a whole dataset; load {sides}, or a side with"):
        load_dataset(built)


def test_pairs_to_vectors(parallel: Path) -> None:
    noisy, clean = next(iter(pairs_to_vectors(parallel / "pairs.csv", sample_rate=RATE)))
    assert noisy.shape == clean.shape == (2 * RATE,)
    folders = parallel / "vb/noisy_testset_wav", parallel / "vb/clean_testset_wav"
    assert len(list(pairs_to_vectors(*folders, sample_rate=RATE))) == 4


def test_shuffling_takes_every_item_once_in_an_order_of_the_seed(built: Path) -> None:
    def sums(**options) -> list[float]:
        return [float(np.abs(noisy.numpy()).sum()) for noisy, _ in load_spectrograms(built, **options)]

    plain, first, second = sums(), sums(shuffle=True, seed=1), sums(shuffle=True, seed=1)
    assert first == second != plain
    assert sorted(first) == pytest.approx(sorted(plain))
    assert sums(shuffle=True, seed=2) != first
