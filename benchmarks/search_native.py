#!/usr/bin/env python3
# pyright: reportMissingImports=false
"""Search specs like those of standard and small several times faster, on a CPU with AVX2 or AVX-512 (Linux).

    pip install torch ninja setuptools
    python benchmarks/search_native.py --space SPACE --max-macs 60M --clean speech/ --noise noises/ \\
        --valid-clean … --valid-noise … --out searches/mine
    audenoise tune report searches/mine

It is `audenoise tune` with hyperband: the same spaces, draws, budget, scores, folder and report, with trials
trained as `train_native.py` trains. Draws that the kernels don't know fail, and the search goes on.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    from native_training.commands import add_folders

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", required=True, help="space file, or the name of a shipped one")
    parser.add_argument("--out", type=Path, required=True, help="goes on with the search that lies there")
    parser.add_argument("--objective", action="append", default=[], help="METRIC[=WEIGHT]; may be repeated")
    parser.add_argument("--max-macs", help="30M, 1.5G: multiply-accumulates per second of audio")
    parser.add_argument("--algorithm", choices=("random", "bayesian", "hyperband"), default="hyperband")
    parser.add_argument("--trials", type=int, default=20, help="those of hyperband follow from the epochs")
    parser.add_argument("--seed", type=int, default=0)
    add_folders(parser)
    options = parser.parse_args()

    from audenoise.errors import AudenoiseError

    try:
        search(options)
    except AudenoiseError as error:
        raise SystemExit(f"search_native.py: {error}") from None


def search(options: argparse.Namespace) -> None:
    from native_training.commands import folders_of
    from native_training.trials import work

    from audenoise.searches.goals import Budget, Objective, parse_amount
    from audenoise.searches.report import in_words
    from audenoise.spaces import load_space
    from audenoise.tuning.data import SearchData
    from audenoise.tuning.search import search as run_search
    from audenoise.tuning.settings import SearchSettings
    from audenoise.tuning.trials import run_trial

    settings = SearchSettings(
        space=load_space(options.space),
        objective=Objective.parse(options.objective or ["si_sdr"]),
        budget=Budget(macs_per_second=parse_amount(options.max_macs) if options.max_macs else None),
        algorithm=options.algorithm,
        trials=options.trials,
        seed=options.seed,
    )
    data = SearchData(folders_of(options), None, options.cache or options.out / "cache", workers=1)
    found = run_search(settings, data, options.out, run=partial(run_trial, work=work))
    if found is not None:
        print(in_words(found))


if __name__ == "__main__":
    main()
