"""Keras loaded for a command."""

import contextlib
import importlib
import sys

import pytest

from audenoise.keras_loading import _left_out


def test_what_is_left_out_can_be_imported_afterwards_and_what_was_loaded_stays() -> None:
    package = "tabnanny"  # of the standard library, imported by nobody
    sys.modules.pop(package, None)
    with contextlib.suppress(ZeroDivisionError), _left_out(package, "os"):
        with pytest.raises(ImportError):
            importlib.import_module(package)
        assert importlib.import_module("os") is sys.modules["os"]
        _ = 1 / 0
    assert importlib.import_module(package).check
