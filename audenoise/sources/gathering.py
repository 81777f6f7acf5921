"""From folders to what goes into each side of a dataset: recordings found, left out, held out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audenoise.errors import DataError

from .excerpts import length_at
from .inputs import Inputs, Side
from .layouts import traits_of
from .pairs import find_pairs
from .recordings import Recording, Skipped, find_recordings
from .rules import LabelRule, SpeakerRule
from .settings import DatasetSpec
from .splitting import split, split_by

Progress = Callable[[int], object]


@dataclass
class Gathered:
    """What was found: the recordings of each side, what was left out, and lines that sum it up."""

    sides: dict[str, Side]
    skipped: list[Skipped]
    summary: list[str] = field(default_factory=list)


def gather(
    inputs: Inputs,
    spec: DatasetSpec,
    *,
    jobs: int,
    known: Mapping[str, Recording] | None = None,
    on_progress: Progress | None = None,
) -> Gathered:
    """Find, check and split.

    Raises
    ------
    DataError
        If there is too little data: says what is missing. With `spec.strict`, if anything had to be left out.
    """
    inputs.check()
    common: dict[str, Any] = {"jobs": jobs, "known": known, "on_progress": on_progress, "layout": spec.layout}
    gathered = (_gather_pairs if inputs.parallel else _gather_parts)(inputs, spec, common)
    if spec.strict and gathered.skipped:
        first = gathered.skipped[0]
        raise DataError(
            f"{first.path}: {first.reason} (strict; {len(gathered.skipped)} files can't be used in all)"
        )
    return gathered


def _gather_pairs(inputs: Inputs, spec: DatasetSpec, common: dict[str, Any]) -> Gathered:
    speakers = SpeakerRule(spec.speakers) if spec.speakers else None
    source, clean = (inputs.noisy, inputs.clean[0]) if inputs.noisy is not None else (inputs.pairs, None)
    if source is None:
        raise DataError("pairs: none are given")
    pairs, skipped = find_pairs(source, clean, align=spec.align, speakers=speakers, **common)
    found, pairs = len(pairs) + len(skipped), _long_enough(pairs, lambda pair: pair.clean, spec, skipped)
    if not pairs:
        raise DataError(f"{source}: none of {found} pairs can be used; the first: {_first(skipped)}")
    sided = {pair.side for pair in pairs}
    if None in sided and len(sided) > 1:
        raise DataError(f"{source}: says of some pairs only whether they are for training or for testing")
    if None not in sided:
        sides = {name: [pair for pair in pairs if pair.side == name] for name in ("train", "test")}
        if not sides["train"]:
            raise DataError(f"{source}: all pairs are on the test side; training needs some too")
        _refuse_common_voices([p.clean for p in sides["train"]], [p.clean for p in sides["test"]])
    else:
        train, test = split_by(
            pairs,
            lambda pair: pair.clean,
            share=spec.test_split,
            seed=spec.seed,
            by=spec.split_by,
            what="pairs",
        )
        sides = {"train": train, "test": test}
    summary = [f"pairs: {_in_words([pair.clean for pair in pairs])}"]
    summary += _unknown_voices(*([pair.clean for pair in side] for side in sides.values()))
    shifted = sum(pair.delay != 0 for pair in pairs)
    if shifted:
        summary.append(f"pairs: a constant delay is taken out of {shifted}")
    return Gathered({name: Side(pairs=tuple(each)) for name, each in sides.items() if each}, skipped, summary)


def _gather_parts(inputs: Inputs, spec: DatasetSpec, common: dict[str, Any]) -> Gathered:
    speakers = SpeakerRule(spec.speakers) if spec.speakers else None
    labels = LabelRule(spec.noise_classes, spec.without_noise_classes, inputs.noise_labels)
    skipped: list[Skipped] = []
    summary: list[str] = []

    def find(folders: Sequence[Path], what: str, **rules: Any) -> list[Recording]:
        found, bad = find_recordings(folders, **rules, **common)
        if what == "clean":
            found = _long_enough(found, lambda each: each, spec, bad)
        skipped.extend(bad)
        if not found:
            reason = f"; the first of {len(bad)} that can't be used: {_first(bad)}" if bad else ""
            raise DataError(f"{what}: {', '.join(map(str, folders))} holds no usable recording{reason}")
        summary.append(f"{what}: {_in_words(found)}")
        return found

    def sides_of(
        folders: Sequence[Path], test: Sequence[Path], what: str, by: str, **rules: Any
    ) -> tuple[list[Recording], list[Recording]]:
        found = find(folders, what, **rules)
        if not test:
            return split(found, share=spec.test_split, seed=spec.seed, by=by, what=what)
        held = find(test, f"test {what}", **rules)
        contents = {each.sha256 for each in held}
        leaks = [each for each in found if each.sha256 in contents]
        skipped.extend(
            Skipped(each.path, "has the same content as a recording of the test side") for each in leaks
        )
        found = [each for each in found if each.sha256 not in contents]
        if not found:
            raise DataError(f"{what}: every recording is on the test side too; give others for training")
        _refuse_common_voices(found, held)
        return found, held

    if bool(inputs.test_clean) != bool(inputs.test_noise):
        given, other = ("clean", "noise") if inputs.test_clean else ("noise", "clean")
        raise DataError(
            f"test {other}: give test folders of both, or of neither; there is only one of {given}"
        )
    clean = sides_of(inputs.clean, inputs.test_clean, "clean", spec.split_by, speakers=speakers)
    # Who speaks is nothing that noise could be split by.
    noise = sides_of(inputs.noise, inputs.test_noise, "noise", "recording", labels=labels)
    responses: tuple[list[Recording], list[Recording]] = [], []
    if inputs.rir:
        found = find(inputs.rir, "rir")
        share = (spec.test_split or 0.1) if clean[1] else 0.0
        responses = found, found
        if len(found) > 1:
            responses = split(found, share=share, seed=spec.seed, by="recording", what="rir")
    summary += _unknown_voices(*clean)
    sides = {}
    for i, name in enumerate(("train", "test")):
        if clean[i]:
            sides[name] = Side(tuple(clean[i]), tuple(noise[i]), tuple(responses[i]))
    return Gathered(sides, skipped, summary)


def _long_enough(
    entries: Sequence[Any], recording: Callable[[Any], Recording], spec: DatasetSpec, skipped: list[Skipped]
) -> list[Any]:
    kept = []
    for each in entries:
        one = recording(each)
        if one.duration_s < spec.min_duration_s or length_at(one, spec.sample_rate) < 1:
            skipped.append(Skipped(one.path, f"is shorter than {spec.min_duration_s:g} s"))
        else:
            kept.append(each)
    return kept


def _refuse_common_voices(train: Sequence[Recording], test: Sequence[Recording]) -> None:
    both = sorted(
        {each.speaker for each in train if each.speaker} & {each.speaker for each in test if each.speaker}
    )
    if both:
        raise DataError(
            f"speaker {both[0]} is on both sides ({len(both)} speakers are); the test side needs other voices"
        )


def _unknown_voices(train: Sequence[Recording], test: Sequence[Recording]) -> list[str]:
    """A line for whoever holds out recordings of voices that nobody has named."""
    if not (train and test) or any(each.speaker for each in (*train, *test)):
        return []
    return ["clean: nothing says who speaks, so a voice can be on both sides; --speakers tells"]


def _first(skipped: Sequence[Skipped]) -> str:
    return f"{skipped[0].path}: {skipped[0].reason}" if skipped else "there are none"


def _in_words(recordings: Sequence[Recording]) -> str:
    hours = sum(each.duration_s for each in recordings) / 3600
    parts = [f"{len(recordings)} recordings, {hours:.2f} h"]
    speakers = len({each.speaker for each in recordings if each.speaker})
    if speakers:
        parts.append(f"{speakers} speakers")
    layouts = Counter(
        each.layout for each in traits_of([one.path for one in recordings]).values() if each.layout
    )
    parts += [f"{count} in the layout of {name}" for name, count in layouts.most_common()]
    return ", ".join(parts)
