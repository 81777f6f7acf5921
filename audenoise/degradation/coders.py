"""Real encoders and decoders, in memory (libsndfile); aligned with their input."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.degradation.bands import at_rate, fit
from audenoise.errors import SignalError
from audenoise.interrupts import interrupts_wait

_BLOCK = 1 << 14
_PEAK = 0.97
_MP3_DELAY = 1105
"""Samples by which LAME and the decoder delay together, where the stream has no room to say so: 576 + 529."""
_RATES_MPEG = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Coder:
    """How libsndfile calls a coder, the sample rates it takes, and whether it has levels of compression."""

    container: str
    subtype: str
    rates_hz: tuple[int, ...]
    levels: bool = False


CODERS = {
    "mp3": Coder("MP3", "MPEG_LAYER_III", _RATES_MPEG, True),
    "vorbis": Coder("OGG", "VORBIS", _RATES_MPEG, True),
    "opus": Coder("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000), True),
    "gsm": Coder("WAV", "GSM610", (8000,)),
    "alaw": Coder("WAV", "ALAW", (8000,)),
    "mulaw": Coder("WAV", "ULAW", (8000,)),
}


def rates_below(coder: str, sample_rate: int) -> tuple[int, ...]:
    """Rates that a coder takes and that aren't above the audio's, or its lowest if all are."""
    rates = CODERS[coder].rates_hz
    return tuple(rate for rate in rates if rate <= sample_rate) or rates[:1]


def _through(audio: AudioVector, rate: int, *, coder: str, compression: float) -> AudioVector:
    import soundfile

    entry = CODERS[coder]
    options: dict[str, Any] = {"compression_level": compression} if entry.levels else {}
    if coder == "mp3":
        options["bitrate_mode"] = "CONSTANT"
    memory = io.BytesIO()
    try:
        with interrupts_wait():
            with soundfile.SoundFile(
                memory,
                "w",
                samplerate=rate,
                channels=1,
                format=entry.container,
                subtype=entry.subtype,
                **options,
            ) as file:
                for start in range(0, audio.size, _BLOCK):  # the Vorbis encoder keeps a block on its stack
                    file.write(audio[start : start + _BLOCK])
            memory.seek(0)
            decoded, _ = soundfile.read(memory, dtype="float32")
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise SignalError(
            f"codec: {coder} can't be coded by this libsndfile {soundfile.__libsndfile_version__} ({error}); "
            "leave it out of coders"
        ) from None
    if coder == "mp3" and decoded.size > audio.size:
        decoded = decoded[_MP3_DELAY:]
    return decoded


def code(
    audio: AudioVector, sample_rate: int, *, coder: str, rate_hz: int, compression: float = 0.5
) -> AudioVector:
    """Code and decode.

    Parameters
    ----------
    audio : AudioVector
        Made softer for the coder where it exceeds full scale, and louder again behind it.
    sample_rate : int
        In Hz.
    coder : str
        One of `CODERS`.
    rate_hz : int
        At which to code; one of the coder's.
    compression : float
        Of MP3, Vorbis and Opus: 0 (highest bit rate) to 1 (lowest).

    Returns
    -------
    AudioVector
        As long as `audio`, with no delay.

    Raises
    ------
    SignalError
        If the coder doesn't take the rate, or libsndfile was built without it.
    """
    if coder not in CODERS or rate_hz not in CODERS[coder].rates_hz:
        raise SignalError(f"codec: {coder} at {rate_hz} Hz is none of {', '.join(CODERS)} at a rate it takes")
    peak = float(np.abs(audio).max())
    if peak == 0:
        return audio
    gain = np.float32(min(1.0, _PEAK / peak))
    low = audio * gain
    if rate_hz != sample_rate:
        low = at_rate(low, sample_rate, rate_hz)
    # Silence behind the end, so that no coder keeps the last samples to itself.
    decoded = _through(np.pad(low, (0, 64)), rate_hz, coder=coder, compression=compression)
    if rate_hz != sample_rate:
        decoded = at_rate(decoded, rate_hz, sample_rate)
    return fit(decoded, audio.size) / gain
