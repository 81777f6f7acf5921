"""Audio inside a page."""

import base64
import io

import numpy as np
import soundfile as sf

from audenoise.interrupts import interrupts_wait


def flac_base64(audio: np.ndarray, sample_rate: int) -> str:
    """FLAC of 16 bits in base64; (samples,) or (samples, channels), clipped at full scale."""
    file = io.BytesIO()
    with interrupts_wait():
        sf.write(file, np.clip(audio, -1.0, 1.0), sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii")
