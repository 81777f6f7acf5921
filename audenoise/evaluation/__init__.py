"""How good denoised recordings are: a model beside the noisy input, classical baselines and other systems.

`find_pairs` or `stored_pairs` say what is evaluated, `model_system`, `named_systems` and `folder_system` by
whom; `evaluate` does the work and returns an `Evaluation`. The functions of `report` turn that into tables,
those of `pictures`, which loads Matplotlib, into pictures.
"""

from .labels import apply_labels, apply_noise_logs, read_labels
from .pairs import Left, Pair, find_pairs, paired_folders, stored_pairs
from .planning import DEFAULT_METRICS, METRIC_NAMES
from .report import console_report, file_rows, markdown_report
from .results import Evaluation, Interval, PairInfo, SystemScores
from .running import evaluate
from .systems import BASELINES, RUNNERS, System, folder_system, is_available, model_system, named_systems

__all__ = [
    "BASELINES",
    "DEFAULT_METRICS",
    "METRIC_NAMES",
    "RUNNERS",
    "Evaluation",
    "Interval",
    "Left",
    "Pair",
    "PairInfo",
    "System",
    "SystemScores",
    "apply_labels",
    "apply_noise_logs",
    "console_report",
    "evaluate",
    "file_rows",
    "find_pairs",
    "folder_system",
    "is_available",
    "markdown_report",
    "model_system",
    "named_systems",
    "paired_folders",
    "read_labels",
    "stored_pairs",
]
