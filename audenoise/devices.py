# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""Where a training runs: one device, several of one machine, or those of several machines.

Each batch is shared out; the gradients, the statistics of batch normalisation and the metrics are those of
the whole batch. TensorFlow keeps a copy of the network on each device (`tf.distribute.MirroredStrategy`), JAX
one program for all of them (`keras.distribution.DataParallel`).
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.errors import AudenoiseError, SpecError, TrainingError, brief
from audenoise.specs import ModelSpec


@dataclass(frozen=True)
class Devices:
    """The devices of a training, by default the first one.

    Attributes
    ----------
    count : int
        Devices that share each batch, on all hosts together.
    hosts, host : int
        Processes that train together, and the number of this one. Host 0 alone reads and writes the run.
    distribution : optional
        TensorFlow's strategy or Keras' distribution.
    """

    count: int = 1
    hosts: int = 1
    host: int = 0
    distribution: Any = None

    @property
    def is_first(self) -> bool:
        return self.host == 0

    @property
    def copies(self) -> int:
        """Copies of the network, whose losses and gradients Keras adds up; JAX has one program for all."""
        return self.count if keras.backend.backend() == "tensorflow" else 1

    def scope(self) -> Any:
        """Everything that makes variables or runs the network belongs in here."""
        return nullcontext() if self.distribution is None else self.distribution.scope()

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec that can't be trained here.

        Raises
        ------
        SpecError
        """
        recipe = spec.training
        if recipe.batch_size % self.count:
            raise SpecError(
                f"training.batch_size: can't be shared out evenly among {self.count} devices; choose a "
                f"multiple of {self.count}. Received: {recipe.batch_size}"
            )
        if recipe.precision == "mixed_float16" and self.copies > 1:
            # Its optimizer looks at the gradients of one copy to see whether they are finite.
            raise SpecError(
                "training.precision: mixed_float16 can't be trained on several devices under TensorFlow; use "
                "mixed_bfloat16, or KERAS_BACKEND=jax"
            )

    def prepare(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Make what copies of a network do equal to what one would do with the whole batch."""
        if self.copies == 1:
            return
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        _clip_the_sum(optimizer, self.copies)

    def examples(self, validation: tuple[np.ndarray, np.ndarray], batch_size: int) -> tuple[Any, Any]:
        """Examples for this host, as many as can be shared out: its part of each batch, one after the other.

        Raises
        ------
        TrainingError
            If there are fewer than devices.
        """
        kept = len(validation[0]) // self.count * self.count
        if not kept:
            raise TrainingError(
                f"{len(validation[0])} examples to validate on are too few for {self.count} devices"
            )
        parts = []
        for start in range(0, kept, batch_size):
            whole = np.arange(start, min(start + batch_size, kept))
            parts.append(np.array_split(whole, self.hosts)[self.host])
        mine = np.concatenate(parts)
        return validation[0][mine], validation[1][mine]

    def in_equal_batches(self, audio: np.ndarray, batch_size: int) -> tuple[np.ndarray, int]:
        """With silent examples at the end, so that all batches are of one size, and what all devices get too.

        Returns (padded audio, size), at most `batch_size` but for what makes it a multiple of the number of
        devices. TensorFlow would make another graph for a batch of another size.
        """
        batches = max(1, -(-len(audio) // batch_size))
        size = -(-len(audio) // batches)
        size += -size % self.count
        return np.pad(audio, ((0, batches * size - len(audio)), (0, 0))), size

    # --- between hosts ---

    @contextmanager
    def together(self) -> Iterator[None]:
        """Say in one line that another host is lost, should JAX notice."""
        if self.hosts == 1:
            yield
            return
        from jax.errors import JaxRuntimeError

        try:
            yield
        except JaxRuntimeError as error:
            reason = brief(error)
            raise TrainingError(
                f"the {self.hosts} hosts no longer reach each other ({reason}); start all of them again, "
                "with --resume if an epoch was finished"
            ) from None

    def told(self, content: bytes) -> bytes:
        """What host 0 has."""
        if self.hosts == 1:
            return content
        from jax.experimental.multihost_utils import broadcast_one_to_all

        size = int(broadcast_one_to_all(np.int32(len(content))))
        data = np.zeros(size, np.uint8)
        if self.is_first:
            data[:] = np.frombuffer(content, np.uint8)
        return np.asarray(broadcast_one_to_all(data)).astype(np.uint8).tobytes()

    def on_first(self, function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Call a function on host 0 alone and give its result, as JSON, to all.

        Raises
        ------
        TrainingError
            On the other hosts, if host 0 fails; there, the error itself.
        """
        if self.hosts == 1:
            return function()
        if not self.is_first:
            outcome = json.loads(self.told(b""))
            if "error" in outcome:
                raise TrainingError(f"host 0: {outcome['error']}")
            return outcome["result"]
        try:
            result = function()
        except AudenoiseError as error:
            self.told(json.dumps({"error": str(error)}).encode())
            raise
        return json.loads(self.told(json.dumps({"result": result}).encode()))["result"]

    @contextmanager
    def file_of_first(self, path: Path) -> Iterator[Path]:
        """A copy of host 0's file, for the others; of its suffixes, which Keras goes by."""
        if self.hosts == 1:
            yield path
            return
        content = self.told(path.read_bytes() if self.is_first else b"")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(content)
            yield copy

    def predict(self, model: keras.Model, audio: np.ndarray, batch_size: int) -> np.ndarray:
        """The outputs of a model, computed by this host without the others where there are any."""
        if self.hosts == 1:
            padded, size = self.in_equal_batches(audio, batch_size)
            denoised = model.predict(padded, batch_size=size, verbose=0)  # pyright: ignore[reportArgumentType]
            return np.asarray(denoised)[: len(audio)]
        import jax

        state = [
            [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        step = jax.jit(lambda part: model.stateless_call(*state, part, training=False)[0])
        parts = [audio[i : i + batch_size] for i in range(0, len(audio), batch_size)]
        return np.concatenate([np.asarray(step(part)) for part in parts])


ONE_DEVICE = Devices()
"""The first device of this machine, or what TensorFlow and JAX take by themselves."""


@contextmanager
def undistributed() -> Iterator[None]:
    """For reading and writing weights: Keras makes variables for it, and other hosts don't do so with it."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


class StopTogether(keras.callbacks.Callback):
    """Ends the training on all hosts when host 0 ends it."""

    def __init__(self, devices: Devices):
        super().__init__()
        self.devices = devices

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = self.devices.told(bytes([bool(self.model.stop_training)])) != b"\0"


def find_devices(wanted: int | None = 1) -> Devices:
    """Choose the devices to train on.

    Parameters
    ----------
    wanted : int or None
        How many of each host: GPUs, or CPUs where there are none. None takes all.

    Raises
    ------
    TrainingError
        If there are fewer, or the backend can't use several.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        names = _tensorflow_devices()
        _refuse_too_many(wanted, names)
        chosen = names[:wanted]
        if len(chosen) == 1:
            return Devices()
        import tensorflow as tf

        return Devices(
            count=len(chosen), distribution=tf.distribute.MirroredStrategy(chosen, **_crossing(chosen))
        )
    if backend == "jax":
        import jax

        hosts = jax.process_count()
        names = [f"{device.platform}:{device.id}" for device in jax.local_devices()]
        _refuse_too_many(wanted, names)
        each = len(names) if wanted is None else wanted
        if each * hosts == 1:
            return Devices()
        chosen = []
        for host in range(hosts):
            local = [device for device in jax.devices() if device.process_index == host]
            if len(local) < each:
                raise TrainingError(f"--devices: host {host} has {len(local)} devices and this one {each}")
            chosen += [f"{device.platform}:{device.id}" for device in local[:each]]
        return Devices(
            count=len(chosen),
            hosts=hosts,
            host=jax.process_index(),
            distribution=keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False),
        )
    if wanted == 1:
        return Devices()
    raise TrainingError(f"--devices: KERAS_BACKEND={backend} trains on one device; use tensorflow or jax")


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]


def _refuse_too_many(wanted: int | None, names: list[str]) -> None:
    if wanted is not None and wanted > len(names):
        raise TrainingError(f"--devices {wanted}: here are {len(names)} ({', '.join(names)})")


def _clip_the_sum(optimizer: Any, copies: int) -> None:
    """Keras clips each copy's gradients before it adds them up; clip the sum, as one device would."""
    import tensorflow as tf

    clip = optimizer._clip_gradients

    def clip_gradients(gradients: list[Any]) -> list[Any]:
        context = tf.distribute.get_replica_context()
        if context is None:
            return clip(gradients)
        summed = clip(context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))
        return [gradient / copies for gradient in summed]  # Keras adds up as many equal ones

    optimizer._clip_gradients = clip_gradients


def _crossing(names: list[str]) -> dict[str, Any]:
    """How copies meet. TensorFlow's collectives for CPUs fail in a process that makes a second strategy."""
    import tensorflow as tf

    return {} if names[0].startswith("GPU") else {"cross_device_ops": tf.distribute.ReductionToOneDevice()}
