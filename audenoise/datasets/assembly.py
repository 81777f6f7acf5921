"""From parts made by other processes to a saved dataset: shards saved by TensorFlow, then put together.

Each shard is saved by `tf.data.Dataset.save` on its own as soon as its part is there, so that nothing is done
twice after an interruption and a dataset needs its own size on disk, not twice that. The folder that
`Dataset.load` reads is, in TensorFlow's layout: ``dataset_spec.pb`` (types and shapes), ``snapshot.metadata``
(run and number of elements) and ``RUN/00000000.shard/00000000.snapshot`` for each shard. Here the shards of
all runs come under one run, and the metadata gets their sum; the result is then read by TensorFlow itself.
"""

import csv
import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.errors import DataError
from audenoise.keras_loading import load_tensorflow
from audenoise.sources.parts import SIDES, PartJob, padded

from .info import COLUMNS, SAVED_METADATA, SAVED_SPEC, Histogram

_RUN = "0"
_SNR_EDGES_DB = tuple(float(edge) for edge in range(-40, 65, 5))


class ShardStore:
    """The shards of one side of an unfinished dataset.

    Parameters
    ----------
    folder : Path
        Of the unfinished dataset.
    side : str
    n_shards, bins : int
    seed : int
        Decides the order of items within a shard.
    """

    def __init__(self, folder: Path, side: str, *, n_shards: int, bins: int, seed: int) -> None:
        self.folder, self.side, self.n_shards, self.bins, self.seed = folder, side, n_shards, bins, seed
        self._saver: _Saver | None = None

    def job(self, shard: int) -> PartJob:
        """What a process is asked to make."""
        return PartJob(self.folder, self.side, shard)

    def _snapshot(self, shard: int) -> Path:
        return self.job(shard).part.with_suffix(".snapshot")

    def is_saved(self, shard: int) -> bool:
        """Whether the shard has been saved, or turned out to have no items."""
        return self._snapshot(shard).is_file()

    def table(self, shard: int) -> dict[str, Any]:
        """Rows and skipped files of a shard; the rows in the order in which they are stored."""
        data = json.loads(self.job(shard).table.read_text(encoding="utf-8"))
        order = np.random.default_rng((self.seed, SIDES.index(self.side), 4, shard)).permutation(
            len(data["rows"])
        )
        begins = np.cumsum([0, *(2 * self._numbers(row) for row in data["rows"])])
        if data["rows"] and "clean_sha256" not in data["rows"][0]:
            raise DataError(
                f"{self.folder.parent}: was begun by another audenoise; remove it and start again"
            )
        for row, begin in zip(data["rows"], begins, strict=False):
            row["begins"] = int(begin)
        data["rows"] = [data["rows"][i] for i in order]
        return data

    def save(self, shard: int) -> dict[str, Any]:
        """Save a shard whose part is there; returns its table. An interruption leaves it saved or not."""
        job, target = self.job(shard), self._snapshot(shard)
        table = self.table(shard)
        if not table["rows"]:
            target.touch()
            job.part.unlink()
            return table
        numbers = 2 * sum(map(self._numbers, table["rows"]))
        if self._saver is None:
            self._saver = _Saver(self.folder / self.side / f"saved.partial{os.getpid()}", self.bins)
        try:
            os.replace(self._saver.save(self._read(job.part, numbers), table["rows"]), target)
        finally:
            self._saver.clear()
        os.replace(job.part, job.used)
        return table

    def _numbers(self, row: dict[str, Any]) -> int:
        """What each of an item's two spectrograms takes in a part."""
        return padded(row["frames"] * self.bins * 2)

    def _read(self, part: Path, numbers: int) -> np.ndarray:
        """A part, mapped, so that nothing is copied."""
        try:
            return np.memmap(part, np.float16, "r", shape=(numbers,))
        except ValueError:
            raise DataError(f"{part}: is cut short; remove the dataset's folder and start again") from None

    def assemble(self, folder: Path) -> dict[str, Any] | None:
        """Put the saved shards together as `folder`/SIDE and write the table; can be repeated after a break.

        Returns
        -------
        dict or None
            What `dataset.json` says of the side, but for its sources; "used" holds their paths. None if there
            are no items.
        """
        side, table = folder / self.side, folder / f"{self.side}.csv"
        statistics = Statistics()
        partial = table.with_name(f"{table.name}.partial{os.getpid()}")
        folder.mkdir(exist_ok=True)
        try:
            # A path is bytes, which need not be text.
            with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
                writer.writeheader()
                for shard in range(self.n_shards):
                    rows = self.table(shard)["rows"]
                    if rows:
                        self._place(
                            shard, side / _RUN / f"{statistics.shards:08d}.shard" / "00000000.snapshot"
                        )
                    for row in rows:
                        writer.writerow({**row, "item": statistics.items, "shard": statistics.shards})
                        statistics.add(row)
                    statistics.shards += bool(rows)
            os.replace(partial, table)
        finally:
            partial.unlink(missing_ok=True)
        if not statistics.items:
            return None
        self._write_metadata(side, statistics.items)
        return statistics.summary(self.bins)

    def _place(self, shard: int, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self._snapshot(shard)
        if source.is_file():
            os.replace(source, target)
        elif not target.is_file():
            raise DataError(
                f"{source}: a finished shard has gone; remove the unfinished dataset and start again"
            )

    def _write_metadata(self, side: Path, items: int) -> None:
        tf = load_tensorflow()
        from tensorflow.core.protobuf import snapshot_pb2

        kept = self.folder / self.side
        shutil.copyfile(kept / SAVED_SPEC, side / SAVED_SPEC)
        record = snapshot_pb2.SnapshotMetadataRecord.FromString((kept / SAVED_METADATA).read_bytes())
        record.run_id, record.num_elements, record.creation_timestamp = _RUN, items, 0
        (side / SAVED_METADATA).write_bytes(record.SerializeToString())
        loaded = tf.data.Dataset.load(str(side))
        if int(loaded.cardinality()) != items or next(iter(loaded.take(1)), None) is None:
            raise DataError(
                f"{side}: TensorFlow can't read the dataset that was put together; please report this"
            )


class _Saver:
    """`tf.data.Dataset.save` for one part after the other, always into the same folder.

    What TensorFlow does before the first item (tracing, a graph for each function of the dataset, optimising
    it) takes as long as saving 40 MB. So it is traced once, with as few functions as possible.
    """

    def __init__(self, folder: Path, bins: int) -> None:
        self.folder, self.bins = folder, bins
        self._numbers, self._rows = np.empty(0, np.float16), list[dict[str, Any]]()
        self._write = self._traced()

    def _traced(self) -> Callable[[int], object]:
        tf = load_tensorflow()
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_optimization.apply_default_optimizations = False

        def pair(item: Any) -> tuple[Any, Any]:
            tensors = tf.numpy_function(self._pair, [item], (tf.float16, tf.float16))
            for tensor in tensors:
                tensor.set_shape((None, self.bins, 2))
            return tuple(tensors)

        @tf.function(input_signature=[tf.TensorSpec((), tf.int64)])
        def write(items: Any) -> None:
            tf.data.Dataset.range(items).map(pair).with_options(options).save(str(self.folder))

        return write

    def _pair(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean of one item lie one after the other in the part."""
        row = self._rows[item]
        shape = row["frames"], self.bins, 2
        size, first = math.prod(shape), row["begins"]
        begins = first, first + padded(size)
        noisy, clean = (self._numbers[begin : begin + size].reshape(shape) for begin in begins)
        return noisy, clean

    def save(self, numbers: np.ndarray, rows: list[dict[str, Any]]) -> Path:
        """The file with the items, to be taken away; those of the dataset as a whole go beside the folder."""
        self._numbers, self._rows = numbers, rows
        # TensorFlow makes the folder when it traces; `clear` removes it.
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(len(rows))
        files = list(self.folder.glob("*/*.shard/*.snapshot"))
        if len(files) != 1:
            raise DataError(
                f"{self.folder}: this TensorFlow saves datasets in a layout that isn't known here"
            )
        for name in (SAVED_SPEC, SAVED_METADATA):
            if (self.folder / name).exists():  # the types and shapes are written at the first time only
                os.replace(self.folder / name, self.folder.parent / name)
        return files[0]

    def clear(self) -> None:
        self._numbers = np.empty(0, np.float16)
        shutil.rmtree(self.folder, ignore_errors=True)


class Statistics:
    """What `dataset.json` says of a side, from the rows of its table."""

    def __init__(self) -> None:
        self.items = self.shards = self.frames = 0
        self.seconds = 0.0
        self.labels: Counter[str] = Counter()
        self.snr_db: list[float] = []
        self.used: set[str] = set()
        self._digest = hashlib.sha256()

    def add(self, row: dict[str, Any]) -> None:
        self.items += 1
        self.frames += row["frames"]
        self.seconds += row["duration_s"]
        self.labels[row["label"] or ("unlabelled" if row["noise"] else "none")] += 1
        if row["snr_db"] is not None:
            self.snr_db.append(row["snr_db"])
        self.used.update([row["clean"], *row.get("noises", [row["noise"]])])
        self._digest.update((row["sha256"] + row["clean_sha256"]).encode())

    def summary(self, bins: int) -> dict[str, Any]:
        counts, _ = np.histogram(np.clip(self.snr_db, _SNR_EDGES_DB[0], _SNR_EDGES_DB[-1]), _SNR_EDGES_DB)
        used = np.flatnonzero(counts)
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        histogram = Histogram(
            edges=_SNR_EDGES_DB[first : last + 1] if used.size else (),
            counts=tuple(counts[first:last].tolist()),
        )
        return {
            "items": self.items,
            "hours": round(self.seconds / 3600, 6),
            "shards": self.shards,
            "bytes": self.frames * bins * 8,
            "checksum": self._digest.hexdigest(),
            "snr_db": histogram.model_dump(mode="json"),
            "labels": dict(sorted(self.labels.items())),
            "used": self.used,
        }
