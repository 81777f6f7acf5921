"""Take the noise out of speech recordings, and train networks that do.

>>> import audenoise
>>> denoiser = audenoise.Denoiser.from_preset()  # doctest: +SKIP
>>> denoised = denoiser.denoise(audio, sample_rate)  # doctest: +SKIP

Importing the package loads nothing else: `Denoiser` and what it needs come with its first use.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audenoise.denoiser import Denoiser

# Offline means offline: ONNX Runtime sends usage events unless this is set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Denoiser", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "Denoiser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from audenoise.denoiser import Denoiser

    # From now on the name is found without this function.
    globals()[name] = Denoiser
    return Denoiser


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
