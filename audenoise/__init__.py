"""Take the noise out of speech recordings, and train networks that do.

>>> import audenoise
>>> denoiser = audenoise.Denoiser.from_preset()  # doctest: +SKIP
>>> denoised = denoiser.denoise(audio, sample_rate)  # doctest: +SKIP

Importing the package loads nothing else: `Denoiser`, `Enhancer` and what they need come with their first use.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audenoise.denoiser import Denoiser
    from audenoise.enhancer import Enhancer

# Offline means offline: ONNX Runtime sends usage events unless this is set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Denoiser", "Enhancer", "__version__"]

__version__ = "0.1.0"

_MODULES = {"Denoiser": "audenoise.denoiser", "Enhancer": "audenoise.enhancer"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # From now on the name is found without this function.
    globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
