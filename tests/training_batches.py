"""A tiny spec and batches for it, for tests of training in this process and in another."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from recordings import hiss, voice

from audenoise.specs import ModelSpec, parse_spec

RATE = 8000
TINY: dict[str, Any] = {
    "name": "tiny",
    "sample_rate": RATE,
    "stft": {"n_fft": 128, "hop_length": 64},
    "encoder": [{"filters": 6, "kernel": [1, 8], "stride": [1, 4], "norm": "batch", "dropout": 0.1}],
    "bottleneck": {"kind": "dilated", "channels": 6, "dilations": [1]},
    "output": {"kind": "noise"},  # a mask would begin near silence
    "loss": {"sdr": 0.001},
    "training": {"epochs": 2, "steps_per_epoch": 12, "batch_size": 4, "crop_s": 0.5, "warmup_steps": 2,
                 "learning_rate": 0.01, "ema_momentum": 0.8, "validation_mixtures": 6, "seed": 3},
}  # fmt: skip
RECURRENT = {
    **TINY,
    "bottleneck": {"kind": "recurrent", "bands": 6, "channels": 8, "blocks": 1, "across_bands": "full_band"},
    "training": {**TINY["training"], "steps_per_epoch": 24},
}


def tiny(**training: Any) -> ModelSpec:
    return parse_spec({**TINY, "training": {**TINY["training"], **training}})


@functools.cache
def _voices() -> list[np.ndarray]:
    return [voice(2, RATE, seed=seed) for seed in range(4)]


def pair(number: int, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Mixture and clean speech number `number`."""
    rng = np.random.default_rng(number)
    source = _voices()[rng.integers(4)]
    start = rng.integers(source.size - n_samples)
    clean = source[start : start + n_samples]
    return clean + hiss(n_samples / RATE, RATE, seed=number) * np.float32(rng.uniform(0.3, 1.5)), clean


def batch(number: int, size: int = 4, n_samples: int = RATE // 2) -> tuple[np.ndarray, np.ndarray]:
    noisy, clean = zip(*(pair(number * size + i, n_samples) for i in range(size)), strict=True)
    return np.stack(noisy), np.stack(clean)


def batches(spec: ModelSpec, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    number = epoch * spec.training.steps_per_epoch
    while True:
        yield batch(number, spec.training.batch_size)
        number += 1


def validation() -> tuple[np.ndarray, np.ndarray]:
    return batch(100_000, 6, RATE)
