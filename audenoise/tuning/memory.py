"""The peak memory of a process and of its accelerator."""

import contextlib
import sys
from pathlib import Path


def own_peak_mb() -> float | None:
    """The largest resident size of this process so far, in MB."""
    peak = _status_mb("self", "VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def peak_mb_of(pid: int | None) -> float:
    """Of another process, 0 where the system doesn't tell: a process that is killed can't say it any more."""
    return (_status_mb(str(pid), "VmHWM") or 0.0) if pid else 0.0


def _status_mb(pid: str, field: str) -> float | None:
    # Not getrusage on Linux: it inherits the peak of the process that started this one.
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def device_peak_mb() -> float | None:
    """The largest use of an accelerator's memory, if there is one."""
    with contextlib.suppress(Exception):  # only told by some devices
        import keras

        if keras.backend.backend() == "jax":
            import jax

            stats = jax.local_devices()[0].memory_stats() or {}
            return stats["peak_bytes_in_use"] / 1e6
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if tf.config.list_physical_devices("GPU"):
                return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    return None
