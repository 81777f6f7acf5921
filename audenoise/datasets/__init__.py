"""Saved datasets of (noisy, clean) spectrogram pairs: build, describe, load.

A built dataset is a folder: `train` and `test`, each written with `tf.data.Dataset.save`, a table of their
items (`train.csv`, `test.csv`), and `dataset.json`, which says how it was made and is written last.

Importing this package loads no TensorFlow; the functions that return a `tf.data.Dataset` do.
"""

from audenoise.sources.inputs import Inputs
from audenoise.sources.settings import DatasetSpec, ItemMixing, make_spec

from .building import build_dataset
from .info import DatasetInfo, SideInfo, Source
from .saving import save_dataset
from .storage import load_dataset, load_spectrograms, load_vectors
from .vectors import folders_to_vectors, pairs_to_vectors, vectors_to_spectrograms

__all__ = [
    "DatasetInfo",
    "DatasetSpec",
    "Inputs",
    "ItemMixing",
    "SideInfo",
    "Source",
    "build_dataset",
    "folders_to_vectors",
    "load_dataset",
    "load_spectrograms",
    "load_vectors",
    "make_spec",
    "pairs_to_vectors",
    "save_dataset",
    "vectors_to_spectrograms",
]
