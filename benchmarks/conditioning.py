#!/usr/bin/env python3
"""What an enhancer makes of pitch, rhythm and loudness: each is hidden in turn from the one that was told it.

    python benchmarks/conditioning.py --speech CLEAN [--model enhancer] [--files 3] [--reach 15000] [--jobs 2]

Hidden means that every frame is told the mean of the recording. Speech, damage and metrics are those of
`restoration.py`, without a denoiser. It says what trained weights lean on, not what a network that had never
been told would have learnt instead: for that, switch it off in the spec (`conditioning: {pitch: false}`) and
train. Prints Markdown. Needs audenoise[metrics].
"""

import argparse
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from damage import DAMAGE, cases_of
from restoration import fitted, groups_of, read_joined, scores, summary, table

from audenoise.audio import resample
from audenoise.conditioning import COLUMNS
from audenoise.enhancer import Enhancer
from audenoise.errors import AudenoiseError
from audenoise.workers import map_in_processes

HIDDEN = {
    "nothing hidden": (),
    "pitch": ("pitch_octaves", "voicing"),
    "rhythm": ("onset",),
    "loudness": ("loudness",),
    "all": COLUMNS,
}
SHOWN = ["8 → 16 kHz", "16 → 48 kHz", "telephone", "clipped, 5 %"]


class Half(Enhancer):
    """An enhancer from which some of what it is told can be hidden."""

    hidden: tuple[str, ...] = ()

    def told(self, audio: np.ndarray) -> np.ndarray:
        features = super().told(audio)
        columns = [COLUMNS.index(name) for name in self.hidden]
        features[:, columns] = features[:, columns].mean(axis=0)
        return features


@lru_cache(maxsize=1)
def enhancer_of(model: str) -> Half:
    return Half.from_preset(model, threads=1)


def measure(
    numbered: tuple[int, list[Path]], *, model: str, names: list[str], seconds: float
) -> dict[str, Any]:
    """All cases of one recording: {damage: {what was hidden: scores}}."""
    number, paths = numbered
    speech, rate = read_joined(paths, seconds)
    enhancer, found = enhancer_of(model), {}
    for name, case in cases_of(speech, rate, seed=number, names=names).items():
        to_rate = case.reference_rate
        audio = {"as it came, resampled": resample(case.audio, case.rate, to_rate)}
        for what, enhancer.hidden in HIDDEN.items():
            audio[what] = enhancer.enhance(case.audio, case.rate, output_rate=to_rate)
        found[name] = {
            what: scores(case.reference, fitted(each, case.reference.size), to_rate)
            for what, each in audio.items()
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", required=True, metavar="CLEAN")
    parser.add_argument("--model", default="enhancer", help="a model folder or a bundled one")
    parser.add_argument("--files", type=int, default=3, help="recordings of each --speech (default: 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="least length of one (default: 4)")
    parser.add_argument("--reach", type=float, default=0.0, metavar="HZ", help="least end of a speech's band")
    parser.add_argument("--damage", action="append", choices=DAMAGE, help=f"(default: {'; '.join(SHOWN)})")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    names = arguments.damage or SHOWN
    try:
        enhancer_of(arguments.model)
        groups = groups_of(
            arguments.speech, files=arguments.files, seconds=arguments.seconds, reach_hz=arguments.reach
        )
        work = partial(measure, model=arguments.model, names=names, seconds=arguments.seconds)
        results = list(map_in_processes(work, list(enumerate(groups)), arguments.jobs))
    except AudenoiseError as error:
        print(f"conditioning.py: {error}", file=sys.stderr)
        return 1
    print(f"{len(groups)} recordings, {arguments.model}; the second column says what was hidden\n")
    print(table(summary(results, names)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
