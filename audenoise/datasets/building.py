"""Build a dataset: gather recordings, plan items, make them on all cores, save shards, finish."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audenoise.allocation import keep_freed_memory
from audenoise.durations import in_words
from audenoise.errors import DataError
from audenoise.processors import cores
from audenoise.sources.gathering import Gathered, gather
from audenoise.sources.inputs import Inputs, Side
from audenoise.sources.parts import PartJob, make_part, noise_cache_bytes, write_blueprint
from audenoise.sources.planning import SidePlan, plan_side
from audenoise.sources.recordings import Recording, Skipped
from audenoise.sources.settings import DatasetSpec
from audenoise.workers import Workers, map_in_processes

from .assembly import ShardStore
from .info import INFO_FILE, DatasetInfo, write_info
from .workplace import Workplace

Report = Callable[[str], object]
_FEW = 10
_SHOWN = 10
_ATTEMPTS = 40
"""Workers that a shard may kill: each item that kills two is left out, and then the others are made."""


def build_dataset(
    out: str | os.PathLike[str],
    inputs: Inputs,
    spec: DatasetSpec | None = None,
    *,
    jobs: int | None = None,
    ray: str | None = None,
    report: Report = lambda line: None,
    progress: bool = False,
) -> DatasetInfo:
    """Build a dataset of (noisy, clean) spectrogram pairs in a folder.

    The same recordings and the same spec give the same items in the same order, for any number of processes.
    Interrupted at any moment, the same call continues; a finished dataset is left as it is. From then on this
    process keeps up to 256 MB of freed memory: see `keep_freed_memory`.

    Parameters
    ----------
    out : path-like
        Must not exist, be empty, or hold the same dataset, finished or not.
    inputs : Inputs
    spec : DatasetSpec, optional
    jobs : int, optional
        Processes; all cores by default. Each needs about 250 MB.
    ray : str, optional
        Address of a Ray cluster, whose cores mix in place of these: see `cluster.map_on_cluster`.
    report : callable
        Called with lines of text for the user.
    progress : bool
        Show progress bars on a terminal.

    Returns
    -------
    DatasetInfo

    Raises
    ------
    DataError
        If there is too little data, or space on disk, or `out` holds something else.
    AudioFileError
        If a folder is missing.
    """
    spec = spec or DatasetSpec()
    inputs.check()
    request = {**spec.to_dict(), **inputs.to_dict()}
    place = Workplace(Path(os.path.abspath(out)), request)
    if place.is_finished():
        shutil.rmtree(place.folder, ignore_errors=True)
        report(f"{out}: is finished already")
        return DatasetInfo.read(out)
    keep_freed_memory()
    with place.held():
        try:
            with Workers(jobs or cores()) as workers:
                return _Build(place, inputs, spec, jobs or cores(), ray, report, progress, workers).run()
        except KeyboardInterrupt:
            report(f"{out}: is not finished; the same command continues it")
            raise


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


class _Build:
    def __init__(
        self, place: Workplace, inputs: Inputs, spec: DatasetSpec, jobs: int, ray: str | None,
        report: Report, progress: bool, workers: Workers,
    ) -> None:  # fmt: skip
        self.place, self.inputs, self.spec = place, inputs, spec
        self.jobs, self.ray, self.report, self.progress = jobs, ray, report, progress
        self.skipped: dict[str, str] = {}
        self.workers = workers

    def run(self) -> DatasetInfo:
        if not self.place.is_new:
            self.report(f"continuing {self.place.out}")
        gathered = self._gather()
        for line in gathered.summary:
            self.report(line)
        self._skip(gathered.skipped)
        plans = self._plan(gathered.sides)
        self._check_unchanged(gathered.sides)
        seconds = {name: int(plan.samples.sum()) / self.spec.sample_rate for name, plan in plans.items()}
        for name, plan in plans.items():
            counts = f"{_counted(plan.items, 'item')}, {in_words(seconds[name])}"
            self.report(f"{name}: {counts}, {_counted(plan.n_shards, 'shard')}, {plan.bytes / 1e6:,.0f} MB")
            if name == "test" and plan.items < _FEW:
                self.report(f"only {counts} to test on: scores will say little; a larger --test-split helps")
        cache = self._check_disk(gathered.sides, plans)
        write_blueprint(self.place.folder, self.spec, sides=gathered.sides, plans=plans, cache_noise=cache)
        stores = {
            name: ShardStore(
                self.place.folder, name, n_shards=plan.n_shards, bins=self.spec.stft.bins, seed=self.spec.seed
            )
            for name, plan in plans.items()
        }
        if not (self.place.folder / "final").is_dir():
            self._make(stores, plans)
        return self._finish(stores, gathered.sides)

    def _gather(self) -> Gathered:
        from tqdm import tqdm

        with tqdm(desc="reading headers", unit="file", disable=None if self.progress else True) as bar:

            def read(files: int) -> None:
                bar.update(files)
                if self.ray is None and self.jobs > 1:
                    # There will be work. A process needs longer to start than this one to read some headers.
                    self.workers.start(make_part)

            gathered = gather(
                self.inputs, self.spec, jobs=self.jobs, known=self.place.known(), on_progress=read
            )
        self.place.remember([each for side in gathered.sides.values() for each in _recordings(side)])
        return gathered

    def _skip(self, skipped: Sequence[Skipped]) -> None:
        for each in skipped:
            self.skipped.setdefault(str(each.path), each.reason)

    def _plan(self, sides: dict[str, Side]) -> dict[str, SidePlan]:
        lengths = {name: side.lengths(self.spec.sample_rate) for name, side in sides.items()}
        total = sum(map(sum, lengths.values()))
        # Hours are shared out by length of speech: the side with the fewest noises is the first to lack some.
        fewest = min(len(side.noises) for side in sides.values())
        plans = {}
        for i, (name, side) in enumerate(sides.items()):
            share = sum(lengths[name]) / total
            plans[name] = plan_side(
                lengths[name],
                stored=self.spec.stored,
                max_duration_s=self.spec.max_duration_s,
                mixtures=1 if side.pairs else self.spec.mixtures,
                hours=None if self.spec.hours is None else self.spec.hours * share,
                noises=None if side.pairs else len(side.noises),
                shard_mb=self.spec.shard_mb,
                seed=(self.spec.seed, i),
                what=name,
                most_hours=fewest * total / self.spec.sample_rate / 3600,
            )
        return plans

    def _check_unchanged(self, sides: dict[str, Side]) -> None:
        path = self.place.folder / "blueprint.json"
        if not path.is_file():
            return
        before = json.loads(path.read_text(encoding="utf-8"))["sides"]
        now = json.loads(json.dumps({name: side.to_dict() for name, side in sides.items()}))
        if before != now:
            raise DataError(
                f"{self.place.out}: the recordings have changed since this dataset was begun; remove the "
                "folder and build it anew"
            )

    def _check_disk(self, sides: dict[str, Side], plans: dict[str, SidePlan]) -> bool:
        """Whether decoded noise is kept while building: if that takes no more than the dataset itself."""
        size = sum(plan.bytes for plan in plans.values())
        cache = sum(noise_cache_bytes(side, self.spec.sample_rate) for side in sides.values())
        cached = 0 < cache <= size
        # Parts that wait to be saved, and tables.
        spare = 2 * self.jobs * self.spec.shard_mb * 1e6 + 1500 * sum(plan.items for plan in plans.values())
        there = sum(path.stat().st_size for path in self.place.folder.rglob("*") if path.is_file())
        needed = size + (cache if cached else 0) + min(spare, size)
        free = shutil.disk_usage(self.place.folder).free
        self.report(
            f"disk: {size / 1e9:.2f} GB for the dataset, up to {needed / 1e9:.2f} GB while building, "
            f"{(free + there) / 1e9:.2f} GB are free"
        )
        if needed > free + there:
            raise DataError(
                f"{self.place.out}: needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; make room, "
                "choose another disk, or ask for fewer hours"
            )
        return cached

    def _make(self, stores: dict[str, ShardStore], plans: dict[str, SidePlan]) -> None:
        from tqdm import tqdm

        hours = sum(int(plan.samples.sum()) for plan in plans.values()) / self.spec.sample_rate / 3600
        jobs: list[PartJob] = []
        with tqdm(
            desc="mixing" if not self.inputs.parallel else "cutting",
            total=hours,
            bar_format="{l_bar}{bar}| {n:.2f}/{total:.2f} h [{elapsed}<{remaining}]",
            disable=None if self.progress else True,
        ) as bar:

            def save(store: ShardStore, shard: int) -> None:
                table = store.table(shard) if store.is_saved(shard) else store.save(shard)
                skipped = [Skipped(Path(path), reason) for path, reason in table["skipped"]]
                if skipped and self.spec.strict:
                    raise DataError(f"{skipped[0].path}: {skipped[0].reason} (strict)")
                self._skip(skipped)
                first, last = plans[store.side].shards[shard : shard + 2]
                bar.update(int(plans[store.side].samples[first:last].sum()) / self.spec.sample_rate / 3600)

            for store in stores.values():
                for shard in range(store.n_shards):
                    if store.is_saved(shard) or store.job(shard).part.is_file():
                        save(store, shard)
                    else:
                        jobs.append(store.job(shard))
            if jobs:
                for job in jobs:
                    job.trail.unlink(missing_ok=True)
                many = min(self.jobs, len(jobs))
                made = map_in_processes(
                    make_part, jobs, many, ray=self.ray, attempts=_ATTEMPTS, workers=self.workers
                )
                for done in made:
                    save(stores[done.side], done.shard)

    def _finish(self, stores: dict[str, ShardStore], sides: dict[str, Side]) -> DatasetInfo:
        final = self.place.folder / "final"
        parts = [part for name in stores for part in (name, f"{name}.csv")]
        if final.is_dir():  # what an earlier run had moved out when it was killed
            for part in parts:
                if (self.place.out / part).exists() and not (final / part).exists():
                    os.replace(self.place.out / part, final / part)
        described: dict[str, Any] = {}
        for name, store in stores.items():
            for shard in range(store.n_shards):
                self._skip([Skipped(Path(path), why) for path, why in store.table(shard)["skipped"]])
            summary = store.assemble(final)
            if summary is None:
                first = next(iter(self.skipped.items()), ("", "nothing was left"))
                raise DataError(f"{name}: no item could be made; the first reason: {' '.join(first)}")
            used = summary.pop("used")
            described[name] = {**summary, "sources": _sources(sides[name], used)}
        for part in parts:
            if (final / part).exists():
                os.replace(final / part, self.place.out / part)
        skipped = [{"path": path, "reason": reason} for path, reason in sorted(self.skipped.items())]
        write_info(
            self.place.out,
            spec=self.spec.to_dict(),
            inputs=self.inputs.to_dict(),
            sides=described,
            skipped=skipped,
        )
        self._summarise(described)
        return DatasetInfo.read(self.place.out)

    def _summarise(self, described: dict[str, Any]) -> None:
        self.place.clear()
        if self.skipped:
            self.report(f"skipped {len(self.skipped)} files (all of them are listed in {INFO_FILE}):")
            for path, reason in sorted(self.skipped.items())[:_SHOWN]:
                self.report(f"  {path}: {reason}")
        made = ", ".join(
            f"{name} {each['items']} items, {each['hours']:.2f} h" for name, each in described.items()
        )
        self.report(f"{self.place.out}: {made}")


def _recordings(side: Side) -> list[Recording]:
    pairs = [each for pair in side.pairs for each in (pair.noisy, pair.clean)]
    return [*side.speech, *side.noises, *side.responses, *pairs]


def _sources(side: Side, used: set[str]) -> list[dict[str, Any]]:
    kinds = (
        ("clean", [*side.speech, *(pair.clean for pair in side.pairs)]),
        ("noisy", [pair.noisy for pair in side.pairs]),
        ("noise", side.noises),
        ("rir", side.responses),
    )
    return [
        {
            "kind": kind,
            "path": str(each.path),
            "sha256": each.sha256,
            "duration_s": round(each.duration_s, 6),
            "speaker": each.speaker,
            "label": each.label if kind == "noise" else None,
        }
        for kind, recordings in kinds
        for each in recordings
        if kind == "rir" or str(each.path) in used
    ]
