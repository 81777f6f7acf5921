"""Whether a published model is whole and does what it is for."""

import os

import numpy as np

from audenoise.denoiser import Denoiser
from audenoise.enhancer import Enhancer
from audenoise.errors import ModelError
from audenoise.presets import GRAPH_FILE, load_preset

_LEVEL = 0.1


def check_model(name_or_path: str | os.PathLike[str]) -> str:
    """Check a model's files against their checksums, and run a second of white noise through its graph.

    Parameters
    ----------
    name_or_path : str or PathLike
        Bundled model, or path to a model folder.

    Returns
    -------
    str
        One line for the user: what was checked, and by how much the noise was turned down or up.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the graph does not run, or gives what is no sound.
    """
    preset = load_preset(name_or_path)
    preset.verify()
    model = Enhancer(preset) if preset.is_enhancer else Denoiser(preset)
    rate = preset.sample_rate
    noise = (_LEVEL * np.random.default_rng(0).standard_normal(rate)).astype(np.float32)
    result = model.enhance(noise, rate) if isinstance(model, Enhancer) else model.denoise(noise, rate)
    if result.shape != noise.shape or not np.isfinite(result).all():
        raise ModelError(
            f"{preset.folder}: {GRAPH_FILE}: gives {result.shape} for {noise.shape}, or numbers that are not "
            "finite; publish the model again"
        )
    change_db = 10 * np.log10(np.mean(np.square(result)) / _LEVEL**2 + 1e-12)
    return (
        f"{preset.name}: {len(preset.files)} files as they were published; white noise at {rate} Hz went "
        f"through, {change_db:+.0f} dB"
    )
