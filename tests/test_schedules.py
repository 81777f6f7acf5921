"""Learning rates."""

import keras
import pytest

from audenoise.layers import to_numpy
from audenoise.schedules import WarmCosine


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
