# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportArgumentType=false, reportOperatorIssue=false
"""Learning rates that change with every step."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("audenoise")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise, then half a cosine down.

    The values of `keras.optimizers.schedules.CosineDecay`, without its branches: Keras asks for the rate anew
    for each variable whose weight decays, and on TensorFlow branches for all of them take a third of the time
    that a training needs to start.

    Parameters
    ----------
    rate : float
        At the top.
    total : int
        Steps until the end, from where on the rate stays.
    warmup : int
        Steps of the rise, from a hundredth of the rate; 0 begins at the top.
    floor : float
        Share of the rate at the end: 1 keeps it after the rise.
    """

    def __init__(self, rate: float, *, total: int, warmup: int, floor: float):
        super().__init__()
        self.rate, self.total, self.warmup, self.floor = rate, total, warmup, floor

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        share = ops.clip((step - self.warmup) / max(1, self.total - self.warmup), 0.0, 1.0)
        fall = self.floor + (1.0 - self.floor) * 0.5 * (1.0 + ops.cos(math.pi * share))
        rise = 0.01 + 0.99 * step / max(1, self.warmup)
        return self.rate * ops.where(step < self.warmup, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "total": self.total, "warmup": self.warmup, "floor": self.floor}
