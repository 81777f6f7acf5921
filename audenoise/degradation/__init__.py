"""What recordings suffer: rooms, colour, band limits, codecs, clipping, gaps, noise. Seeded, lengths kept.

`draw` says what happens to a recording and `apply` does it. Each effect is a function of its own, of audio
and sample rate, that keeps the length and delays nothing.
"""

from audenoise.degradation.additions import add_hum, add_noise, coloured_noise
from audenoise.degradation.bands import band_limit, filter_band, resample_and_back
from audenoise.degradation.chain import Draw, Step, apply, draw
from audenoise.degradation.coders import CODERS, code
from audenoise.degradation.colouring import (
    biquad,
    colour,
    equalise,
    microphone_colour,
    parametric_equaliser,
    random_filter,
)
from audenoise.degradation.gaps import drop_out, lose_packets, lost_packets
from audenoise.degradation.levels import clip, clipping_limit, compress_dynamics, distort, modulate
from audenoise.degradation.rooms import (
    EARLY_S,
    algorithmic_reverb,
    in_room,
    reverb_response,
    reverberate,
    simulate_room,
    trim_response,
)
from audenoise.degradation.synthesis import impacts, synthetic_noise, texture, tones
from audenoise.degradation.warps import (
    change_speed,
    flutter,
    formant_shift,
    pitch_shift,
    stretch_to,
    time_stretch,
)

__all__ = [
    "CODERS",
    "EARLY_S",
    "Draw",
    "Step",
    "add_hum",
    "add_noise",
    "algorithmic_reverb",
    "apply",
    "band_limit",
    "biquad",
    "change_speed",
    "clip",
    "clipping_limit",
    "code",
    "colour",
    "coloured_noise",
    "compress_dynamics",
    "distort",
    "draw",
    "drop_out",
    "equalise",
    "filter_band",
    "flutter",
    "formant_shift",
    "impacts",
    "in_room",
    "lose_packets",
    "lost_packets",
    "microphone_colour",
    "modulate",
    "parametric_equaliser",
    "pitch_shift",
    "random_filter",
    "resample_and_back",
    "reverb_response",
    "reverberate",
    "simulate_room",
    "stretch_to",
    "synthetic_noise",
    "texture",
    "time_stretch",
    "tones",
    "trim_response",
]
