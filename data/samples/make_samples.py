#!/usr/bin/env python3
"""Make the samples of this folder: synthetic speech in synthetic noise, nothing recorded.

    apt-get install -y flite festival festvox-us-slt-hts
    python data/samples/make_samples.py

Each noisy file has its clean twin, of the same rate, format and level, in `clean/`. The noises are drawn from
a seed, so a second run gives the same samples (Ogg files differ in the serial number that their encoder
draws).
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

SEED = 20261121


def spectrum_noise(
    rng: np.random.Generator, n_samples: int, gain: Callable[[np.ndarray], np.ndarray], rate: int
):
    """Gaussian noise with the amplitude `gain(frequency_hz)`, unit RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / rate)
    noise = np.fft.irfft(spectrum * gain(np.maximum(frequency_hz, 20.0)), n_samples)
    return noise / np.sqrt(np.mean(noise**2))


def pink(rng: np.random.Generator, n_samples: int, rate: int) -> np.ndarray:
    return spectrum_noise(rng, n_samples, lambda f: f**-0.5, rate)


def bursts(
    rng: np.random.Generator, starts: np.ndarray, n_samples: int, rate: int, *, ring_hz: tuple, decay_s: float
):
    """Short decaying rings, each with a pitch and a level of its own: drops, key strokes, crackle."""
    audio = np.zeros(n_samples)
    t = np.arange(int(8 * decay_s * rate)) / rate
    for start in starts:
        ring = np.sin(2 * np.pi * rng.uniform(*ring_hz) * t + rng.uniform(0, 6.28)) + rng.standard_normal(
            t.size
        )
        event = ring * np.exp(-t / (decay_s * rng.uniform(0.6, 1.4))) * 10 ** (rng.uniform(-15, 0) / 20)
        end = min(n_samples, int(start) + t.size)
        audio[int(start) : end] += event[: end - int(start)]
    return audio / np.sqrt(np.mean(audio**2))


def fan(rng: np.random.Generator, n_samples: int, rate: int) -> np.ndarray:
    """Rushing air that beats with the blades, over a hum with harmonics that drifts a little."""
    t = np.arange(n_samples) / rate
    turn = 2 * np.pi * np.cumsum(19 + 0.4 * np.sin(2 * np.pi * 0.23 * t)) / rate
    air = spectrum_noise(rng, n_samples, lambda f: f**-0.5 / (1 + (f / 2500) ** 2), rate)
    blades = sum(np.sin(7 * k * turn + k) / k**1.5 for k in range(1, 7))
    return (air * (1 + 0.25 * np.sin(turn)) + 0.5 * blades)[:, np.newaxis]


def street(rng: np.random.Generator, n_samples: int, rate: int) -> np.ndarray:
    """Stereo: rumble, rain all over the panorama, and a car that goes by from left to right."""
    t = np.arange(n_samples) / rate
    passing = (t - t[-1] * 0.55) / 0.9
    tyres = spectrum_noise(rng, n_samples, lambda f: f / (300 + f) / (1 + (f / 1800) ** 2), rate) / (
        1 + passing**2
    )
    engine_hz = 92 * (1 - 0.06 * np.tanh(passing))  # the Doppler shift of the pass
    engine = sum(np.sin(2 * np.pi * k * np.cumsum(engine_hz) / rate) / k for k in range(1, 9)) / (
        1 + passing**2
    )
    angle = np.pi / 4 * (1 + np.tanh(passing))
    channels = []
    for pan in (np.cos(angle), np.sin(angle)):
        rumble = spectrum_noise(rng, n_samples, lambda f: 1 / (1 + (f / 90) ** 1.5), rate)
        drops = rng.uniform(0, n_samples, int(60 * t[-1]))
        rain = bursts(rng, drops, n_samples, rate, ring_hz=(1500, 9000), decay_s=0.002)
        hiss = spectrum_noise(rng, n_samples, lambda f: f**0.25 / (1 + (f / 9000) ** 2), rate)
        channels.append(0.5 * rumble + pan * (tyres + 0.35 * engine) + 0.35 * rain + 0.18 * hiss)
    return np.stack(channels, axis=1)


def keyboard(rng: np.random.Generator, n_samples: int, rate: int) -> np.ndarray:
    """Key strokes (down, and softer up) with the thump of the desk, in a room with a little pink noise."""
    strokes = np.cumsum(rng.gamma(4, 0.035, 80)) * rate
    strokes = strokes[strokes < n_samples - 0.2 * rate]
    down = bursts(rng, strokes, n_samples, rate, ring_hz=(1800, 4500), decay_s=0.004)
    up = bursts(rng, strokes + 0.09 * rate, n_samples, rate, ring_hz=(2500, 6000), decay_s=0.0025)
    thump = bursts(rng, strokes, n_samples, rate, ring_hz=(140, 260), decay_s=0.012)
    thump = np.fft.irfft(
        np.fft.rfft(thump) / (1 + (np.fft.rfftfreq(n_samples, 1 / rate) / 400) ** 2), n_samples
    )
    return (down + 0.5 * up + thump + 0.35 * pink(rng, n_samples, rate))[:, np.newaxis]


def telephone(rng: np.random.Generator, n_samples: int, rate: int) -> np.ndarray:
    """Line hiss, a buzz of mains harmonics and crackle, in the band of a telephone."""
    t = np.arange(n_samples) / rate
    buzz = sum(np.sin(2 * np.pi * 50 * k * t + k * k) / k**0.5 for k in range(7, 30, 2))
    crackle = bursts(
        rng, rng.uniform(0, n_samples, int(6 * t[-1])), n_samples, rate, ring_hz=(500, 3000), decay_s=0.002
    )
    hiss = spectrum_noise(rng, n_samples, lambda f: (f / 1000) ** -0.2, rate)
    return telephone_band(hiss + 0.12 * buzz + 0.7 * crackle, rate)[:, np.newaxis]


def telephone_band(audio: np.ndarray, rate: int) -> np.ndarray:
    """Keep 300 to 3400 Hz, with soft edges."""
    frequency_hz = np.fft.rfftfreq(audio.size, 1 / rate)
    gain = 1 / (1 + np.exp((300 - frequency_hz) / 25)) / (1 + np.exp((frequency_hz - 3400) / 60))
    return np.fft.irfft(np.fft.rfft(audio) * gain, audio.size)


@dataclass(frozen=True)
class Sample:
    """One noisy file: who says what, at which rate, in which noise."""

    file: str
    voice: str  # of flite, or festival's slt_arctic_hts: 32 kHz, so that a 48 kHz file has an upper band
    text: str
    rate: int
    noise: Callable[[np.random.Generator, int, int], np.ndarray]
    snr_db: float
    level_db: float = -26.0  # of the active speech, full scale 0
    subtype: str | None = None
    gains: tuple[float, ...] = (1.0,)  # of the speech in each channel


SAMPLES = (
    Sample(
        "noisy_fan.wav",
        "rms",
        "The fan has been running all night, and it never gets quiet in here.",
        16_000,
        fan,
        5.0,
    ),
    Sample(
        "noisy_street.flac",
        "slt_arctic_hts",
        "I am outside the station, in the rain. The bus has left.",
        48_000,
        street,
        3.0,
        gains=(1.0, 0.7),
    ),
    Sample(
        "noisy_keyboard.ogg",
        "awb",
        "Please send the minutes around today. The others can keep typing while we talk about the budget.",
        44_100,
        keyboard,
        6.0,
    ),
    Sample(
        "noisy_telephone.wav",
        "slt",
        "Thank you for calling. All our lines are busy at the moment, so please stay on the phone.",
        8_000,
        telephone,
        8.0,
        subtype="ULAW",
    ),
)


def speak(voice: str, text: str) -> tuple[np.ndarray, int]:
    """Synthesise one text; return (samples,) and the rate of the voice in Hz."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "text.txt", Path(folder) / "speech.wav"
        source.write_text(text + "\n")
        if voice == "slt_arctic_hts":
            command = ["text2wave", "-eval", f"(voice_cmu_us_{voice})", "-o", str(target), str(source)]
        else:
            command = ["flite", "-voice", voice, "-f", str(source), "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
        return sf.read(target, dtype="float64")


def active_rms(audio: np.ndarray, rate: int) -> float:
    """RMS of the 20 ms frames within 40 dB of the loudest one."""
    frame = rate // 50
    power = np.mean(audio[: audio.size // frame * frame].reshape(-1, frame) ** 2, axis=1)
    return float(np.sqrt(power[power > power.max() * 1e-4].mean()))


def make(sample: Sample, folder: Path) -> None:
    speech, voice_rate = speak(sample.voice, sample.text)
    speech = soxr.resample(speech, voice_rate, sample.rate)
    if sample.noise is telephone:
        speech = telephone_band(speech, sample.rate)
    pause = np.zeros(sample.rate // 4)
    speech = np.concatenate([pause, speech, pause])
    speech *= 10 ** (sample.level_db / 20) / active_rms(speech, sample.rate)
    # The name is part of the seed: changing one sample leaves the others alone.
    rng = np.random.default_rng([SEED, *sample.file.encode()])
    noise = sample.noise(rng, speech.size, sample.rate)
    noise *= 10 ** ((sample.level_db - sample.snr_db) / 20) / np.sqrt(np.mean(noise**2))
    clean = speech[:, np.newaxis] * np.array(sample.gains) / np.sqrt(np.mean(np.square(sample.gains)))
    noisy = clean + noise
    if np.abs(noisy).max() >= 1.0:
        raise ValueError(f"{sample.file} clips: lower level_db. Peak: {np.abs(noisy).max():.2f}")
    for path, audio in ((folder / sample.file, noisy), (folder / "clean" / sample.file, clean)):
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, audio, sample.rate, subtype=sample.subtype)
        print(f"{path}: {len(audio) / sample.rate:.2f} s, {path.stat().st_size / 1000:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: this folder")
    arguments = parser.parse_args()
    try:
        for sample in SAMPLES:
            make(sample, arguments.out)
    except FileNotFoundError as error:
        print(
            f"{error.filename} not found: apt-get install -y flite festival festvox-us-slt-hts",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
