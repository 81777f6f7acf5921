"""A tiny enhancer and pairs for it, for tests of its networks and of its training."""

import functools
from typing import Any

import numpy as np
from recordings import voice

from audenoise.enhancer import frame_features
from audenoise.enhancer_pairs import PairBatch
from audenoise.specs.enhancer import EnhancerSpec, parse_enhancer_spec

RATE = 8000
TINY: dict[str, Any] = {
    "name": "tiny",
    "sample_rate": RATE,
    "stft": {"n_fft": 128, "hop_length": 32, "window": "hann"},
    "mel": {"bands": 12},
    "generator": {"channels": 12, "mel_blocks": 1, "spectrum_blocks": 1, "kernel": 3, "dilations": [1, 2]},
    "discriminators": {
        "periods": [2], "period_channels": 2, "resolutions": [[64, 32]], "spectrum_channels": 2,
        "max_channels": 4,
    },
    "loss": {"stft_resolutions": [[64, 16]]},
    "schedule": {"adversarial_from_step": 3, "warmup_steps": 0},
    "pairs": {"min_bandwidth_hz": 0, "denoise": 0},
    "degradation": {"effects": [{"kind": "resampling", "probability": 1, "rates_hz": [4000]}]},
    "training": {
        "batch_size": 2, "crop_s": 0.1, "epochs": 2, "steps_per_epoch": 2, "learning_rate": 3e-3,
        "ema_momentum": 0.5, "validation_pairs": 2, "scored_pairs": 0, "examples_every": 2, "examples": 1,
        "seed": 4,
    },
}  # fmt: skip


def tiny(**sections: Any) -> EnhancerSpec:
    """The spec with some sections changed: a dictionary updates a section, anything else replaces it."""
    changed = dict(TINY)
    for key, value in sections.items():
        changed[key] = {**TINY.get(key, {}), **value} if isinstance(value, dict) else value
    return parse_enhancer_spec(changed)


@functools.cache
def _voices() -> list[np.ndarray]:
    return [voice(2, RATE, seed=seed) for seed in range(3)]


def pair_batch(number: int, spec: EnhancerSpec, *, size: int = 2, n_samples: int = 800) -> PairBatch:
    """Voices with noise in their upper half, and the same through a moving average of four samples."""
    rng = np.random.default_rng(number)
    sizes = {"hop_length": spec.stft.hop_length, "win_length": spec.stft.window_samples}
    degraded, target = [], []
    for _ in range(size):
        source = _voices()[rng.integers(3)]
        start = rng.integers(source.size - n_samples)
        clean = source[start : start + n_samples] + 0.02 * rng.standard_normal(n_samples).astype(np.float32)
        target.append(clean)
        degraded.append(np.convolve(clean, np.full(4, 0.25, np.float32), "same"))
    conditioning = np.stack([frame_features(audio, RATE, **sizes) for audio in degraded])
    return PairBatch(
        np.stack(degraded),
        np.stack(target),
        conditioning,
        np.stack([frame_features(audio, RATE, **sizes)[:, :2] for audio in target]),
        np.full(conditioning.shape[:2], RATE / 2, np.float32),
    )


def pair_batches(spec: EnhancerSpec, epoch: int = 0):
    number = epoch * spec.training.steps_per_epoch
    while True:
        yield pair_batch(number, spec, size=spec.training.batch_size, n_samples=spec.crop_samples)
        number += 1
