"""Specs: dictionaries that say everything needed to build and train a network.

A spec is data. It has one form in Python (`ModelSpec`), on disk (YAML or JSON), in the tuner and in a
published model. Sizes that cannot work are found here, before anything is built.
"""

from audenoise.specs.model import ModelSpec
from audenoise.specs.pretraining import PretrainingSpec
from audenoise.specs.reading import (
    MAX_SPEC_BYTES,
    RECIPES,
    dump_spec,
    grows_from,
    load_document,
    load_recipe,
    load_spec,
    override_training,
    parse_spec,
    same_network,
    spec_to_dict,
)
from audenoise.specs.sections import (
    InputSpec,
    LossSpec,
    MixingSpec,
    OutputSpec,
    ScalingSpec,
    StftSpec,
    TrainingSpec,
)
from audenoise.specs.stages import (
    ConvolutionBottleneck,
    DilatedBottleneck,
    RecurrentBottleneck,
    SkipSpec,
    StageSpec,
)

MAX_PARAMETERS = 500_000_000

__all__ = [
    "MAX_PARAMETERS",
    "MAX_SPEC_BYTES",
    "RECIPES",
    "ConvolutionBottleneck",
    "DilatedBottleneck",
    "InputSpec",
    "LossSpec",
    "MixingSpec",
    "ModelSpec",
    "OutputSpec",
    "PretrainingSpec",
    "RecurrentBottleneck",
    "ScalingSpec",
    "SkipSpec",
    "StageSpec",
    "StftSpec",
    "TrainingSpec",
    "dump_spec",
    "grows_from",
    "load_document",
    "load_recipe",
    "load_spec",
    "override_training",
    "parse_spec",
    "same_network",
    "spec_to_dict",
]
