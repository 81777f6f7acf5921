"""Scalings of levels that are measured on the training data: see `audenoise.specs.ScalingSpec`."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from audenoise.errors import DataError
from audenoise.specs import ModelSpec, ScalingSpec, dump_spec, load_spec
from audenoise.spectral import make_window, stft

WITHIN = 0.999
"""Share of the levels that come to lie within -1…1."""
MEASURED_EXAMPLES = 64

Batch = tuple[np.ndarray, np.ndarray]


def _levels(audio: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Levels in dB as the network has them: (batch, frequency, frames)."""
    sizes = spec.stft
    spectrum = stft(
        np.asarray(audio, np.float32),
        n_fft=sizes.n_fft,
        hop_length=sizes.hop_length,
        win_length=sizes.window_samples,
        window=sizes.window,
    )
    magnitude = np.abs(spectrum) / make_window(sizes.window, sizes.window_samples).sum()
    return 20 * np.log10(np.maximum(magnitude, 10 ** (spec.input.range_db[0] / 20)))


def _scaling(levels: list[np.ndarray]) -> ScalingSpec:
    values = np.concatenate([part.ravel() for part in levels])
    mean = float(values.mean())
    spread = float(np.quantile(np.abs(values - mean), WITHIN))
    return ScalingSpec(mean_db=round(mean, 2), scale_db=max(0.01, round(spread, 2)))


def measure_scaling(spec: ModelSpec, batches: Iterable[Batch]) -> ModelSpec:
    """Fill in what the scalings of a spec leave open.

    The mean is that of the levels in dB, the scale the distance from it that 99.9 % of them keep: of the
    noisy input, and of what the network is to predict (the clean level, or the noisy level above it).

    Parameters
    ----------
    spec : ModelSpec
    batches : iterable
        (noisy, clean) of shape (batch, samples), full scale 1.0, at `spec.sample_rate`.

    Returns
    -------
    ModelSpec
        To 0.01 dB; what was given already is kept.

    Raises
    ------
    DataError
        If there is no batch.

    Examples
    --------
    >>> from audenoise.specs import parse_spec
    >>> spec = parse_spec({
    ...     "input": {"representation": "decibel", "scaling": {}}, "output": {"kind": "noise", "scaling": {}},
    ...     "encoder": [{"filters": 4}], "bottleneck": {"kind": "dilated"},
    ... })
    >>> noise = np.random.default_rng(0).standard_normal((4, 16000)).astype(np.float32)
    >>> measure_scaling(spec, [(0.1 * noise, 0.01 * noise)]).output.scaling.mean_db
    20.0
    """
    inputs: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    for noisy, clean in batches:
        levels = _levels(noisy, spec), _levels(clean, spec)
        inputs.append(levels[0])
        outputs.append(levels[0] - levels[1] if spec.output.kind == "noise" else levels[1])
    if not inputs:
        raise DataError("there is nothing to measure the levels on: no training batch came")
    return spec.with_scaling(_scaling(inputs), _scaling(outputs))


def scaling_of_run(
    spec: ModelSpec, batches: Iterator[Batch], *, run: Path
) -> tuple[ModelSpec, Iterator[Batch]]:
    """The spec of a run with its scalings, measured on the first batches if the run has none yet.

    Parameters
    ----------
    spec : ModelSpec
    batches : iterator
        See `measure_scaling`; some are taken from it if they are needed.
    run : Path
        Holds spec.yaml, which gets what was measured.

    Returns
    -------
    spec : ModelSpec
    taken : iterator
        The batches that were taken, to train on before the others.
    """
    if spec.is_fitted:
        return spec, iter(())
    spec = spec.with_scaling_of(load_spec(run / "spec.yaml"))
    if spec.is_fitted:
        return spec, iter(())
    taken: list[Batch] = []
    while sum(len(noisy) for noisy, _ in taken) < MEASURED_EXAMPLES:
        batch = next(batches, None)
        if batch is None:
            break
        taken.append(batch)
    spec = measure_scaling(spec, taken)
    partial = run / "spec.yaml.partial"
    partial.write_text(dump_spec(spec), encoding="utf-8")
    partial.replace(run / "spec.yaml")
    # Each batch leaves the memory as it is used.
    return spec, (taken.pop(0) for _ in itertools.repeat(None, len(taken)))
