"""Crops from a saved dataset: what TensorFlow stored, in an order that the seed alone decides, from disk."""

import itertools
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_datasets import RATE, SCALE, STFT, mixture, spectra, write_dataset, write_side
from training_batches import TINY

from audenoise.crops import CropReader, StoredStft
from audenoise.datasets import DatasetInfo
from audenoise.datasets.feeding import (
    DatasetStream,
    StoredSide,
    check_fit,
    open_side,
    training_reader,
    validation_examples,
)
from audenoise.errors import DataError
from audenoise.shards import ShardIndex, index_shards
from audenoise.specs import parse_spec

TOLERANCE_DB = 74.0
"""float16 keeps 11 bits, so what comes back is this far above its error (see `datasets.storage`)."""
SECONDS = [0.1, 0.3, 0.6, 1.1, 1.7, 2.4]
STORED = StoredStft(RATE, 128, 64, 128, "sqrt_hann", SCALE)

Pairs = list[tuple[np.ndarray, np.ndarray]]


def error_db(found: np.ndarray, expected: np.ndarray) -> float:
    """Level of the signal over that of the difference."""
    noise = np.mean(np.square(found.astype(np.float64) - expected))
    return float(10 * np.log10(np.mean(np.square(expected, dtype=np.float64)) / (noise + 1e-30)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Pairs]]:
    folder = tmp_path_factory.mktemp("feeding") / "dataset"
    train = [mixture(i, SECONDS[i % len(SECONDS)]) for i in range(12)]
    test = [mixture(100 + i, 1.5) for i in range(5)]
    return folder, write_dataset(folder, {"train": train, "test": test})


@pytest.fixture(scope="module")
def side(dataset: tuple[Path, dict[str, Pairs]]) -> StoredSide:
    return open_side(DatasetInfo.read(dataset[0]), "train")


def reader(side: StoredSide, *, seconds: float = 0.5, seed: int = 0) -> CropReader:
    return CropReader(side.index, side.stored, n_samples=round(seconds * RATE), seed=seed)


class Watched:
    """An index that notes what is read from it."""

    def __init__(self, index: ShardIndex):
        self.index, self.reads = index, []
        self.files, self.frames = index.files, index.frames

    def read(self, item: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        self.reads.append(item)
        return self.index.read(item, start, stop)


# --- what comes back ----------------------------------------------------------------------------------------


def test_what_is_read_is_what_tensorflow_saved(dataset: tuple[Path, Any], side: StoredSide) -> None:
    import tensorflow as tf

    loaded = tf.data.Dataset.load(
        str(dataset[0] / "train"), reader_func=lambda shards: shards.flat_map(lambda s: s)
    )
    items: list[Any] = list(loaded.as_numpy_iterator())
    assert len(items) == side.index.frames.size == 12
    for i, pair in enumerate(items):
        assert len(pair[0]) == side.index.frames[i]
        expected = np.stack(pair).astype(np.float32).view(np.complex64)[..., 0]
        np.testing.assert_array_equal(side.index.read(i), expected)
        np.testing.assert_array_equal(side.index.read(i, 3, 9), expected[:, 3:9])


def test_whole_items_are_the_original_mixtures(
    dataset: tuple[Path, dict[str, Pairs]], side: StoredSide
) -> None:
    assert {pair[0].size for pair in dataset[1]["train"]} == {round(s * RATE) for s in SECONDS}
    for i, pair in enumerate(dataset[1]["train"]):
        found = side.waveforms(i, pair[0].size)
        assert found.dtype == np.float32
        for one, original in zip(found, pair, strict=True):
            assert one.size == original.size
            assert error_db(one, original) > TOLERANCE_DB
        behind = side.waveforms(i)[:, pair[0].size :]
        assert behind.shape[1] < STFT["hop_length"]
        assert np.abs(behind).max(initial=0) < 1e-4


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_fft": 128, "hop_length": 64, "win_length": 128, "window": "sqrt_hann"},
        {"n_fft": 256, "hop_length": 50, "win_length": 200, "window": "hann"},
        {"n_fft": 256, "hop_length": 48, "win_length": 250, "window": "hamming"},
    ],
)
def test_a_crop_is_a_piece_of_the_original_mixture(sizes: dict[str, Any], tmp_path: Path) -> None:
    pairs = [mixture(i, 1.0 + 0.013 * i) for i in range(3)]
    write_side(tmp_path / "train", pairs, shards=1, sizes=sizes)
    stored = StoredStft(sample_rate=RATE, scale=SCALE, **sizes)
    n_samples = 2345
    crops = CropReader(index_shards(tmp_path / "train"), stored, n_samples=n_samples, seed=5)
    used = set()
    for number in range(25):
        noisy, clean = crops.example(number)
        assert noisy.shape == clean.shape == (n_samples,)
        # Which piece it is: the one that fits best of all those that begin on a hop.
        places = [
            (np.sum(np.square(pair[0][start : start + n_samples] - noisy)), i, start)
            for i, pair in enumerate(pairs)
            for start in range(0, pair[0].size - n_samples + 1, sizes["hop_length"])
        ]
        _, i, start = min(places)
        used.add((i, start))
        for found, original in zip((noisy, clean), pairs[i], strict=True):
            piece = original[start : start + n_samples]
            assert error_db(found, piece) > TOLERANCE_DB
            # The ends too, where frames that overlap the cut would be missing.
            assert np.abs(found - piece).max() < 1e-3 * np.abs(piece).max()
    assert {i for i, _ in used} == {0, 1, 2}
    assert len(used) > 15


def test_short_items_are_followed_by_others(tmp_path: Path) -> None:
    pairs = [mixture(i, 0.2) for i in range(4)]
    write_side(tmp_path / "train", pairs, shards=2, sizes=STFT)
    crops = CropReader(index_shards(tmp_path / "train"), STORED, n_samples=4000, seed=1)
    assert crops.pass_length == 4
    for number in range(4):
        noisy, clean = crops.example(number)
        assert noisy.size == 4000
        for begin in (0, 1600, 3200):  # three items of 1600 samples, the last one cut
            n_samples = min(1600, 4000 - begin)
            part = slice(begin, begin + n_samples)
            fits = [
                (error_db(noisy[part], pair[0][start : start + n_samples]), i, start)
                for i, pair in enumerate(pairs)
                for start in range(0, 1600 - n_samples + 1, 64)
            ]
            best, i, start = max(fits)
            assert best > TOLERANCE_DB - 6
            error = np.abs(clean[part] - pairs[i][1][start : start + n_samples])
            assert error.max() < 1e-3 * np.abs(pairs[i][0]).max()


# --- in which order -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_batches_however_they_are_read(side: StoredSide) -> None:
    def batches(workers: int, *, first: int = 0, count: int = 7, seed: int = 0) -> list[np.ndarray]:
        stream = DatasetStream(reader(side, seed=seed), batch_size=3, workers=workers, first=first)
        try:
            return [np.stack(batch) for batch in itertools.islice(stream, count)]
        finally:
            stream.close()

    expected = batches(0)
    assert expected[0].shape == (2, 3, 4000)
    assert expected[0].dtype == np.float32
    for found in (batches(1), batches(2)):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(batches(1, first=4, count=3), expected[4:])
    assert np.abs(np.array(batches(0, seed=1)) - np.array(expected)).max() > 0.1
    assert len({batch.tobytes() for batch in expected}) == 7


def test_a_pass_takes_every_item_as_often_as_crops_fit_in_and_mixes_the_shards(side: StoredSide) -> None:
    watched: Any = Watched(side.index)
    crops = CropReader(watched, side.stored, n_samples=4000, seed=2)
    expected = np.maximum(1, (side.index.frames + 1) * 64 - 128) // 4000
    expected = np.maximum(1, expected)
    assert crops.pass_length == expected.sum()
    passes = []
    for number in range(2 * crops.pass_length):
        watched.reads.clear()
        crops.example(number)
        passes.append(watched.reads[0])  # what follows it fills a short item up
    for some in (passes[: crops.pass_length], passes[crops.pass_length :]):
        np.testing.assert_array_equal(np.bincount(some), expected)
    assert passes[: crops.pass_length] != passes[crops.pass_length :]
    shards = side.index.shard[passes[: crops.pass_length]]
    assert set(shards) == {0, 1, 2}
    # In a random order of 21 crops from 3 shards the shard changes 14 times on average, in the files' twice.
    assert np.count_nonzero(np.diff(shards)) > 6


def test_validation_is_the_same_for_every_run_and_from_the_held_out_side(
    dataset: tuple[Path, dict[str, Pairs]],
) -> None:
    info = DatasetInfo.read(dataset[0])
    test = open_side(info, "test")
    specs = [parse_spec({**TINY, "training": {**TINY["training"], "seed": seed}}) for seed in (1, 2)]
    first, second = (validation_examples(test, spec) for spec in specs)
    np.testing.assert_array_equal(first, second)
    assert first[0].shape == (5, 12_032)  # 6 are wanted, there are 5 items of 1.5 s, in whole hops
    originals = dataset[1]["test"]
    matches = [
        max((error_db(one[:12_000], noisy), i) for i, (noisy, _) in enumerate(originals)) for one in first[0]
    ]
    assert all(best > TOLERANCE_DB for best, _ in matches)
    assert {i for _, i in matches} == set(range(5))


# --- from disk ----------------------------------------------------------------------------------------------


def record_head(frames: int, bins: int) -> bytes:
    """A TFRecord up to the numbers of a float16 tensor (frames, bins, 2), by the format's description."""

    def varint(value: int) -> bytes:
        low, high = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + varint(high) if high else bytes([low])

    def message(field: int, content: bytes) -> bytes:
        return bytes([field << 3 | 2]) + varint(len(content)) + content

    shape = b"".join(message(2, b"\x08" + varint(size)) for size in (frames, bins, 2))
    n_bytes = 4 * frames * bins
    proto = b"\x08\x13" + message(2, shape) + b"\x22" + varint(n_bytes)
    return struct.pack("<QI", len(proto) + n_bytes, 0) + proto


@pytest.mark.skipif(sys.platform == "win32", reason="files with holes")
def test_a_dataset_far_larger_than_memory_is_read_in_that_of_a_batch(tmp_path: Path) -> None:
    frames, bins, per_shard = 10**6, 65, 24
    head, n_bytes = record_head(frames, bins), 4 * frames * bins
    for shard in range(20):
        folder = tmp_path / "train" / "1" / f"{shard:08d}.shard"
        folder.mkdir(parents=True)
        with (folder / "00000000.snapshot").open("wb") as file:
            for _ in range(2 * per_shard):
                file.write(head)
                file.seek(n_bytes + 4, 1)  # zeros that take no room
            file.truncate(file.tell())
    total = sum(path.stat().st_size for path in (tmp_path / "train").rglob("*.snapshot"))
    assert total > 200e9
    tracemalloc.start()
    index = index_shards(tmp_path / "train")
    assert index.frames.tolist() == [frames] * 20 * per_shard
    crops = CropReader(index, STORED, n_samples=16_000, seed=0)
    before, _ = tracemalloc.get_traced_memory()
    watched: Any = Watched(index)
    crops.index = watched
    tracemalloc.reset_peak()
    for number in range(5):
        crops.batch(number, 16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(index.shard[watched.reads])) >= 15  # 80 draws of 20 shards
    # The order of a pass over 3.7e6 crops is 30 MB of numbers, made from as many; a batch is 2 MB.
    assert before < 100e6
    assert peak < 150e6


def test_reading_processes_load_no_framework() -> None:
    code = "import audenoise.datasets.feeding, sys; print({'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what can't be used -------------------------------------------------------------------------------------


def test_a_dataset_that_does_not_fit_says_what_differs(dataset: tuple[Path, Any]) -> None:
    info = DatasetInfo.read(dataset[0])
    check_fit(info, parse_spec(TINY))
    other = {
        "sample_rate": 16000,
        "stft": {"n_fft": 256, "hop_length": 100, "win_length": 200, "window": "hann"},
    }
    with pytest.raises(DataError) as caught:
        check_fit(info, parse_spec({**TINY, **other}))
    for key, theirs, ours in (
        ("sample_rate", 8000, 16000),
        ("stft.n_fft", 128, 256),
        ("stft.hop_length", 64, 100),
        ("stft.win_length", 128, 200),
        ("stft.window", "sqrt_hann", "hann"),
    ):
        assert f"{key} is {theirs} in the dataset and {ours} in the spec" in str(caught.value)
    with pytest.raises(DataError) as caught:
        check_fit(info, parse_spec({**TINY, "stft": {"n_fft": 128, "hop_length": 32}}))
    assert "stft.hop_length is 64 in the dataset and 32 in the spec" in str(caught.value)
    assert "n_fft" not in str(caught.value)


def one_shard(folder: Path) -> Path:
    write_side(folder, [mixture(i, 0.3) for i in range(3)], shards=1, sizes=STFT)
    return next(folder.rglob("*.snapshot"))


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    shard = one_shard(tmp_path / "train")
    whole = shard.read_bytes()
    for damaged in (whole[:-1], whole[:5], whole[: len(whole) // 2 + 7], b"\xff" * 100 + whole[100:]):
        shard.write_bytes(damaged)
        with pytest.raises(DataError, match=r"00000000\.snapshot: .*(damaged|cut short)"):
            index_shards(tmp_path / "train")
    half = struct.unpack_from("<Q", whole)[0] + 16
    shard.write_bytes(whole[:half])
    with pytest.raises(DataError, match="ends within a pair"):
        index_shards(tmp_path / "train")
    shard.write_bytes(whole[: half - 1000] + b"\xff" * 900 + whole[half - 100 :])
    index = index_shards(tmp_path / "train")
    with pytest.raises(DataError, match=r"snapshot: the shard is damaged \(numbers that aren't finite\)"):
        index.read(0)
    shard.write_bytes(whole)
    index = index_shards(tmp_path / "train")
    shard.write_bytes(whole[: half // 2])
    with pytest.raises(DataError, match="cut short"):
        index.read(0)
    shard.unlink()
    with pytest.raises(DataError, match="can't be read"):
        index.read(0)


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    with pytest.raises(DataError, match="holds no shards"):
        index_shards(tmp_path)
    tf.data.Dataset.range(5).save(str(tmp_path / "numbers"))
    with pytest.raises(DataError, match="holds no spectrogram pairs"):
        index_shards(tmp_path / "numbers")
    pair = spectra(mixture(0, 0.3)[0], STFT)
    compressed = tf.data.Dataset.from_tensors((pair, pair))
    compressed.save(str(tmp_path / "packed"), compression="GZIP")
    with pytest.raises(DataError, match="snapshot: "):
        index_shards(tmp_path / "packed")
    one_shard(tmp_path / "two")
    shutil.copytree(next((tmp_path / "two").glob("*/")), tmp_path / "two" / "12345")
    with pytest.raises(DataError, match="2 datasets mixed up"):
        index_shards(tmp_path / "two")


def test_a_process_that_cannot_read_says_why(dataset: tuple[Path, Any], tmp_path: Path) -> None:
    shutil.copytree(dataset[0], tmp_path / "copy")
    copy = open_side(DatasetInfo.read(tmp_path / "copy"), "train")
    for path in copy.index.files:
        path.write_bytes(path.read_bytes()[:40])
    stream = DatasetStream(reader(copy), batch_size=3, workers=1)
    try:
        with pytest.raises(DataError, match=r"reading failed: .*snapshot: the shard is cut short"):
            next(stream)
    finally:
        stream.close()


def test_a_side_that_is_not_what_the_description_says_is_refused(
    dataset: tuple[Path, Any], tmp_path: Path
) -> None:
    shutil.copytree(dataset[0], tmp_path / "copy")
    info = DatasetInfo.read(tmp_path / "copy")
    shutil.rmtree(next((tmp_path / "copy" / "train").rglob("00000002.shard")))
    with pytest.raises(DataError, match=r"train: holds \d items of 65 bins, and dataset\.json says 12 of 65"):
        open_side(info, "train")
    with pytest.raises(DataError, match="no side 'valid'"):
        open_side(info, "valid")


def test_training_crops_have_the_length_and_the_seed_of_the_spec(side: StoredSide) -> None:
    crops = training_reader(side, parse_spec(TINY))
    assert (crops.n_samples, crops.seed) == (4000, 3)
