# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportOptionalOperand=false
"""AdamW, and learning rates that change with every step, as trainings start soonest with them."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("audenoise")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise, then half a cosine down.

    The values of `keras.optimizers.schedules.CosineDecay`, without its branches: on TensorFlow they take time
    when a training starts.

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


@keras.saving.register_keras_serializable("audenoise")
class AdamW(keras.optimizers.Adam):
    """Adam with decoupled weight decay [1]_, of every weight.

    The steps of `keras.optimizers.AdamW`, which asks its schedule for the rate anew for each weight that
    decays. On TensorFlow that makes for a larger graph, and a later start.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    decay : float
        Share of a weight that each step takes away, times the learning rate.
    **options
        As for `keras.optimizers.Adam`, but for `weight_decay`.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", Proc. ICLR, 2019.
    """

    def __init__(self, learning_rate: Any, *, decay: float, **options: Any):
        super().__init__(learning_rate, **options)
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        share = ops.cast(learning_rate, variable.dtype) * self.decay
        self.assign_sub(variable, ops.multiply(variable, share))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("weight_decay")
        return {**config, "decay": self.decay}
