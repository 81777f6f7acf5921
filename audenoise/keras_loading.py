"""Loading Keras for a command: quietly, and with one clear line when its backend is not there."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audenoise.errors import AudenoiseError, brief


def load_keras() -> None:
    """Import Keras with the backend that KERAS_BACKEND or its own configuration names.

    What TensorFlow says when it starts is left out unless TF_CPP_MIN_LOG_LEVEL is set: on a machine without
    a GPU some of it looks like an error.

    Raises
    ------
    AudenoiseError
        If the backend is unknown or not installed.
    """
    try:
        with _quiet_stderr(), _left_out("matplotlib", "sklearn"):
            import keras

            keras.ops.zeros(1)  # looks for devices
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        reason = brief(error, 200)
        raise AudenoiseError(
            f"KERAS_BACKEND={backend}: Keras can't be loaded ({reason}); use tensorflow or jax, installed"
        ) from None


def load_tensorflow() -> Any:
    """Import TensorFlow, as quietly, and return it.

    Raises
    ------
    AudenoiseError
        If it is not installed or can't be loaded.
    """
    try:
        with _quiet_stderr():
            import tensorflow

            tensorflow.zeros(1)  # looks for devices
    except ImportError as error:
        reason = brief(error, 200)
        raise AudenoiseError(
            f"TensorFlow can't be loaded ({reason}); install it: it writes datasets"
        ) from None
    return tensorflow


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what libraries write to the file descriptor itself."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _left_out(*packages: str) -> Iterator[None]:
    """Let Keras do without packages that it has wrappers for, as on a machine that lacks them.

    audenoise uses none of these wrappers, and their packages take a fifth of Keras' start. What is loaded
    already stays.
    """
    loaded: dict[str, Any] = sys.modules
    missing = [package for package in packages if package not in loaded]
    loaded.update(dict.fromkeys(missing))  # None: its import fails
    try:
        yield
    finally:
        for package in missing:
            del loaded[package]
