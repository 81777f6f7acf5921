"""One shard's worth of items in a file, made by a process of its own, which loads no TensorFlow."""

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.allocation import keep_freed_memory

from .excerpts import length_at
from .inputs import Side
from .items import ItemMixer, PairCutter, maker_of
from .planning import SidePlan
from .recordings import Recording, Skipped
from .settings import DatasetSpec
from .stored import Encoder

SIDES = ("train", "test")
_ALIGNED = 32
"""Numbers in 64 bytes: what begins at a multiple of these TensorFlow takes without copying it."""


@dataclass(frozen=True)
class PartJob:
    """Shard `shard` of a side, to be made in the folder of an unfinished dataset."""

    folder: Path
    side: str
    shard: int

    @property
    def part(self) -> Path:
        """Stored spectrograms, noisy and clean of each item, one after the other, each of `padded` size."""
        return self.folder / self.side / f"{self.shard:06d}.part"

    @property
    def used(self) -> Path:
        """Where a part goes that has been saved, for another process to write over: see `_claim`."""
        return self.part.with_suffix(".used")

    @property
    def trail(self) -> Path:
        """The items that have been begun, for whoever comes after a process that died."""
        return self.part.with_suffix(".trail")

    @property
    def table(self) -> Path:
        """Rows of the items, in JSON."""
        return self.part.with_suffix(".json")


def padded(numbers: int) -> int:
    """What a spectrogram of so many numbers takes in a part."""
    return -(-numbers // _ALIGNED) * _ALIGNED


@dataclass
class _Trail:
    """The items of a shard that processes died of: the last line of each that it left behind.

    Two deaths leave an item out. What ends in another way than by a sudden death removes the file.
    """

    path: Path

    def deadly(self) -> set[int]:
        """Items that are not to be tried again; what the process before died of is noted."""
        lines = self.path.read_text().split() if self.path.exists() else []
        deaths = [line for line in lines if line.startswith("died")]
        if lines and not lines[-1].startswith("died"):
            deaths.append(f"died{lines[-1]}")
        write_text(self.path, "".join(f"{line}\n" for line in deaths))
        return {int(line[4:]) for line in deaths if deaths.count(line) >= _DEATHS}


_DEATHS = 2


def write_blueprint(
    folder: Path, spec: DatasetSpec, *, sides: dict[str, Side], plans: dict[str, SidePlan], cache_noise: bool
) -> None:
    """Write what the processes need to know: see `make_part`."""
    for name, plan in plans.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        arrays = {key: getattr(plan, key) for key in plan.__dataclass_fields__ if key != "bytes"}
        np.savez(folder / f"{name}.plan.npz", **arrays)
    data = {
        "spec": spec.model_dump(mode="json"),
        "cache_noise": cache_noise,
        "sides": {name: side.to_dict() for name, side in sides.items()},
    }
    write_text(folder / "blueprint.json", json.dumps(data))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass
class _Workshop:
    spec: DatasetSpec
    plan: SidePlan
    recordings: tuple[Recording, ...]
    maker: ItemMixer | PairCutter


@lru_cache(maxsize=1)
def _workshop(folder: Path, side: str) -> _Workshop:
    """Read once by each process for each side."""
    keep_freed_memory()
    data = json.loads((folder / "blueprint.json").read_text(encoding="utf-8"))
    spec = DatasetSpec.model_validate(data["spec"])
    recordings = Side.from_dict(data["sides"][side])
    with np.load(folder / f"{side}.plan.npz", allow_pickle=False) as stored:
        plan = SidePlan(**{name: stored[name] for name in stored.files}, bytes=0)
    cache = folder / f"noise-{side}" if data["cache_noise"] else None
    speech = recordings.speech or tuple(pair.clean for pair in recordings.pairs)
    maker = maker_of(recordings, spec, seed=(spec.seed, SIDES.index(side)), cache=cache)
    return _Workshop(spec, plan, speech, maker)


def _claim(folder: Path, path: Path) -> str:
    """Make a part that has been saved the file `path`, if there is one; returns how to open it.

    Writing over pages that the system holds in memory already takes half as long as writing new ones.
    """
    for used in folder.glob("*.used"):
        try:
            os.rename(used, path)
            return "r+b"
        except OSError:  # another process has taken it
            continue
    return "wb"


def make_part(job: PartJob) -> PartJob:
    """Make a shard's items and write them: `job.table` first, then `job.part`, each whole or not at all.

    Raises
    ------
    DataError
        If no noise can be used.
    """
    work = _workshop(job.folder, job.side)
    encoders = Encoder(work.spec.stored), Encoder(work.spec.stored)
    last_clean, clean, clean_sha256 = np.empty(0), np.empty(0), ""
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    partial = job.part.with_suffix(f".partial{os.getpid()}-{platform.node()}")
    deadly = _Trail(job.trail).deadly()
    try:
        with (
            partial.open(_claim(job.part.parent, partial)) as out,
            job.trail.open("ab", buffering=0) as trail,
        ):
            for number, slot in enumerate(work.plan.slots(job.shard)):
                if number in deadly:
                    path = work.recordings[slot.recording].path
                    skipped.append(Skipped(path, f"{_DEATHS} processes died of it, or of the noise with it"))
                    continue
                trail.write(f"{number}\n".encode())
                item = work.maker.make(slot)
                if isinstance(item, Skipped):
                    skipped.append(item)
                    continue
                noisy = encoders[0].encode(item.noisy)
                if item.clean is not last_clean:  # mixtures of one piece often have the same target
                    last_clean, clean = item.clean, encoders[1].encode(item.clean)
                    clean_sha256 = hashlib.sha256(clean.data).hexdigest()
                for stored in (noisy, clean):
                    out.write(stored.data)
                    out.write(bytes(stored.itemsize * (padded(stored.size) - stored.size)))
                sums = {"sha256": hashlib.sha256(noisy.data).hexdigest(), "clean_sha256": clean_sha256}
                rows.append({**item.row, **sums, "frames": len(noisy)})
            out.truncate()
        if isinstance(work.maker, ItemMixer):
            skipped += work.maker.take_problems()
        unique = {str(each.path): each.reason for each in reversed(skipped)}
        write_text(job.table, json.dumps({"rows": rows, "skipped": sorted(unique.items())}))
        os.replace(partial, job.part)
    finally:
        partial.unlink(missing_ok=True)
        job.trail.unlink(missing_ok=True)
    return job


def noise_cache_bytes(side: Side, sample_rate: int) -> int:
    """What decoded noise takes on disk."""
    return 4 * sum(length_at(each, sample_rate) for each in side.noises)
