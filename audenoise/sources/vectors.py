"""Pairs of waveforms straight from folders, one at a time, with nothing written."""

from collections.abc import Callable, Iterator
from typing import Any

from audenoise.array_types import AudioVector
from audenoise.errors import DataError

from .gathering import gather
from .inputs import Inputs
from .items import ItemMixer, maker_of
from .planning import plan_side
from .recordings import Skipped
from .settings import DatasetSpec


def iterate_vectors(
    inputs: Inputs,
    spec: DatasetSpec | None = None,
    *,
    on_skip: Callable[[Skipped], object] = lambda skipped: None,
    **changes: Any,
) -> Iterator[tuple[AudioVector, AudioVector]]:
    """The items of one side with all recordings, as `build_dataset` makes them: (noisy, clean) waveforms.

    What can't be used is left out, or an error with `spec.strict`.

    Parameters
    ----------
    inputs : Inputs
    spec : DatasetSpec, optional
        Its `test_split` and STFT have no meaning here.
    on_skip : callable
        Called with each recording that can't be used, and why.
    **changes
        Keys of the spec that differ.

    Raises
    ------
    DataError
        As for `gather` and `plan_side`.
    """
    spec = DatasetSpec.model_validate({**(spec or DatasetSpec()).model_dump(), **changes, "test_split": 0.0})
    gathered = gather(inputs, spec, jobs=1)
    for skipped in gathered.skipped:
        on_skip(skipped)
    side = gathered.sides["train"]
    plan = plan_side(
        side.lengths(spec.sample_rate),
        stored=spec.stored,
        max_duration_s=spec.max_duration_s,
        mixtures=1 if side.pairs else spec.mixtures,
        hours=spec.hours,
        noises=None if side.pairs else len(side.noises),
        shard_mb=spec.shard_mb,
        seed=(spec.seed, 0),
        what="train",
    )
    maker = maker_of(side, spec, seed=(spec.seed, 0), cache=None)
    for slot in plan.slots():
        item = maker.make(slot)
        problems = [item] if isinstance(item, Skipped) else []
        if isinstance(maker, ItemMixer):
            problems += maker.take_problems()
        for problem in problems:
            if spec.strict:
                raise DataError(f"{problem.path}: {problem.reason} (strict)")
            on_skip(problem)
        if not isinstance(item, Skipped):
            yield item.noisy, item.clean
