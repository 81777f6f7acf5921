"""Pre-training an encoder on speech alone, to start a denoiser or an enhancer from."""

from audenoise.pretraining.fitting import Batch, fit_encoder, prepare_pretraining, pretrain
from audenoise.pretraining.model import EncoderRecipe, PretrainingModel, in_db, recipe_of, trivial_errors

__all__ = [
    "Batch",
    "EncoderRecipe",
    "PretrainingModel",
    "fit_encoder",
    "in_db",
    "prepare_pretraining",
    "pretrain",
    "recipe_of",
    "trivial_errors",
]
