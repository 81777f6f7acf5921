"""Scalings measured on training data: closed forms, what is kept, and that no batch is lost."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audenoise.errors import DataError, SpecError
from audenoise.run_folders import prepare_run
from audenoise.scaling import MEASURED_EXAMPLES, measure_scaling, scaling_of_run
from audenoise.specs import ModelSpec, ScalingSpec, load_spec, parse_spec, same_network

LEVELS: dict[str, Any] = {
    "sample_rate": 8000,
    "stft": {"n_fft": 128, "hop_length": 64},
    "encoder": [{"filters": 4}],
    "bottleneck": {"kind": "dilated"},
    "input": {"representation": "decibel", "scaling": {}},
    "output": {"kind": "noise", "scaling": {}},
}


def spec_with(**sections: Any) -> ModelSpec:
    return parse_spec({**LEVELS, **sections})


def noise(seed: int, batch: int = 8, n_samples: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, n_samples)).astype(np.float32)


def batches(gain_db: float = 20.0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noise, and the same so much lower."""
    for seed in itertools.count():
        yield 0.1 * noise(seed), np.float32(0.1 * 10 ** (-gain_db / 20)) * noise(seed)


def test_a_constant_difference_is_its_mean_and_hardly_spreads() -> None:
    spec = measure_scaling(spec_with(), itertools.islice(batches(20.0), 4))
    assert spec.output_scaling == (pytest.approx(20.0), pytest.approx(0.01))
    mean, spread = spec.input_scaling
    # White noise of RMS 0.1 in a bin: the sum of its window's squares over the square of the sum, and the
    # mean of the logarithm of a power that is exponentially distributed, 2.51 dB below that of the power.
    window = np.sin(np.pi * np.arange(128) / 128)
    expected = 20 * np.log10(0.1) + 10 * np.log10(np.sum(window**2) / np.sum(window) ** 2) - 2.51
    assert mean == pytest.approx(expected, abs=0.5)
    assert 15 < spread < 50, "the 0.1 % of the levels that lie deepest"
    assert spec.is_fitted
    assert spec.input.scaling == ScalingSpec(mean_db=mean, scale_db=spread)


def test_a_predicted_spectrogram_is_scaled_as_the_clean_one() -> None:
    spec = measure_scaling(
        spec_with(output={"kind": "spectrogram", "scaling": {}}), itertools.islice(batches(20.0), 4)
    )
    assert spec.output_scaling[0] == pytest.approx(spec.input_scaling[0] - 20, abs=0.02)
    assert spec.output_scaling[1] == pytest.approx(spec.input_scaling[1], rel=0.1)


def test_what_is_given_is_kept() -> None:
    fixed = {"representation": "decibel", "scaling": {"mean_db": -46.0, "scale_db": 50.0}}
    spec = spec_with(input=fixed, output={"kind": "noise", "scaling": {"mean_db": 6.0}})
    assert not spec.is_fitted
    measured = measure_scaling(spec, itertools.islice(batches(), 2))
    assert measured.input_scaling == (-46.0, 50.0)
    assert measured.output_scaling == (6.0, pytest.approx(0.01))
    assert same_network(spec, measured)
    assert not same_network(spec_with(input={"representation": "decibel"}), measured)


def test_silence_has_a_scale_and_nothing_is_an_error() -> None:
    silent = np.zeros((2, 4000), np.float32)
    spec = measure_scaling(spec_with(), [(silent, silent)])
    assert spec.input_scaling == (-100.0, 0.01)
    with pytest.raises(DataError, match="no training batch came"):
        measure_scaling(spec_with(), [])


def test_a_run_measures_once_and_trains_on_every_batch(tmp_path: Path) -> None:
    spec = spec_with()
    prepare_run(tmp_path, spec, resume=False)
    source = batches()
    fitted, first = scaling_of_run(spec, source, run=tmp_path)
    assert load_spec(tmp_path / "spec.yaml") == fitted
    assert fitted.is_fitted
    trained_on = [noisy for noisy, _ in itertools.islice(itertools.chain(first, source), 20)]
    for found, (expected, _) in zip(trained_on, batches(), strict=False):
        np.testing.assert_array_equal(found, expected)
    assert fitted == measure_scaling(spec, itertools.islice(batches(), MEASURED_EXAMPLES // 8))
    # A second time, such as after --resume, nothing is taken: there is nothing in this iterator.
    again, none = scaling_of_run(spec, iter(()), run=tmp_path)
    assert (again, list(none)) == (fitted, [])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"input": {"scaling": {}}}, r"^spec: input\.scaling: is for representation decibel"),
        ({"input": {}, "output": {"kind": "noise", "scaling": {}}},
         r"^spec: output\.scaling: is for input\.representation decibel"),
        ({"output": {"kind": "magnitude_mask", "scaling": {}}}, r"^spec: output\.scaling: is for kind noise"),
        ({"input": {"representation": "decibel", "scaling": {"scale_db": 0}}},
         r"^spec: input\.scaling\.scale_db: must be more than 0"),
        ({"input": {"representation": "decibel", "scaling": {"mean": 0}}},
         r"^spec: input\.scaling\.mean: is not a key of this section"),
    ],
)  # fmt: skip
def test_scalings_that_mean_nothing_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_with(**sections)
