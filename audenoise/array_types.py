"""Names for the arrays that pass between modules, checked at run time where a test asks for it.

Orientation is librosa's: spectrograms are (frequency, frames). Multichannel audio is (samples, channels), as
soundfile reads it. A leading `*batch` in a comment or docstring means any number of further axes in front.
"""

import numpy as np
from jaxtyping import Complex, Float

AudioVector = Float[np.ndarray, "samples"]
MultichannelAudio = Float[np.ndarray, "samples channels"]
Audio = AudioVector | MultichannelAudio
SpectrogramMatrix = Float[np.ndarray, "frequency frames"]
ComplexSpectrogramMatrix = Complex[np.ndarray, "frequency frames"]
