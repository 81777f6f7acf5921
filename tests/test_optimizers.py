"""The optimizer and learning rates, against those of Keras."""

from typing import Any

import keras
import numpy as np
import pytest

from audenoise.layers import to_numpy
from audenoise.optimizers import AdamW, WarmCosine


@pytest.mark.parametrize("warmup", [0, 1, 40])
@pytest.mark.parametrize("floor", [1e-3, 1.0])
@pytest.mark.parametrize("total", [41, 1000])
def test_it_is_keras_cosine_decay(warmup: int, floor: float, total: int) -> None:
    rate = 2e-3
    expected = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 100 if warmup else rate,
        decay_steps=total - warmup,
        alpha=floor,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    schedule = WarmCosine(rate, total=total, warmup=warmup, floor=floor)
    again = WarmCosine.from_config(schedule.get_config())
    for step in (0, 1, 17, 39, 40, 41, total // 2, total - 1, total, 2 * total):
        assert float(to_numpy(schedule(step))) == pytest.approx(float(to_numpy(expected(step))), rel=2e-5)
        assert float(to_numpy(again(step))) == float(to_numpy(schedule(step)))


@pytest.mark.parametrize("ema", [False, True])
def test_it_takes_the_steps_of_keras_adamw(ema: bool) -> None:
    schedule: Any = WarmCosine(2e-2, total=40, warmup=4, floor=1e-3)
    options: dict[str, Any] = {"beta_2": 0.99, "global_clipnorm": 1.0, "use_ema": ema, "ema_momentum": 0.5}
    decay = 0.3
    optimizers = (
        AdamW(schedule, decay=decay, **options),
        keras.optimizers.AdamW(schedule, weight_decay=decay, **options),
        keras.optimizers.Adam(schedule, **options),
    )
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (4,))]
    gradients = [[rng.standard_normal(part.shape) for part in start] for _ in range(9)]
    ends = []
    for optimizer in optimizers:
        weights = [keras.Variable(part) for part in start]
        optimizer.build(weights)
        for step in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(part, "float32") for part in step])
        ends.append([to_numpy(weight) for weight in (*weights, *optimizer.variables)])
    for mine, keras_own in zip(*ends[:2], strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5, atol=1e-6)
    assert np.abs(ends[0][0] - ends[2][0]).max() > 0.01  # the decay shows


def test_it_comes_back_from_its_settings() -> None:
    optimizer = AdamW(1e-3, decay=0.02, beta_2=0.9)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, AdamW)
    assert (again.decay, again.beta_2) == (0.02, 0.9)
