"""Recordings on disk: found, described, split in sides, paired, cut and mixed. NumPy only."""

from .inputs import Inputs
from .pairs import Pair, find_pairs
from .recordings import Recording, Skipped, checksum, find_recordings
from .rules import LabelRule, SpeakerRule
from .splitting import split

__all__ = [
    "Inputs",
    "LabelRule",
    "Pair",
    "Recording",
    "Skipped",
    "SpeakerRule",
    "checksum",
    "find_pairs",
    "find_recordings",
    "split",
]
