"""Recordings for tests: something like voices, and noise, made from a seed."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def voice(seconds: float, rate: int, *, seed: int) -> np.ndarray:
    """Harmonics of a gliding pitch in syllables with pauses, peak 0.5."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(100, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 1) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    harmonics = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 9))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.uniform(0, 6)) + 0.4, 0, 1)
    audio = harmonics * syllables
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def hiss(seconds: float, rate: int, *, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def write_corpus(folder: Path) -> tuple[Path, Path]:
    """Folders of clean speech (two rates and formats, mono and stereo) and of noise."""
    clean, noise = folder / "clean", folder / "noise"
    for sub in (clean / "a", clean / "b", noise):
        sub.mkdir(parents=True)
    for i in range(3):
        soundfile.write(clean / "a" / f"{i}.wav", voice(3, 16000, seed=i), 16000)
    right = voice(2, 48000, seed=9)
    soundfile.write(clean / "b" / "stereo.flac", np.stack([np.zeros_like(right), right], 1), 48000)
    soundfile.write(noise / "long.wav", hiss(3, 16000, seed=20), 16000)
    soundfile.write(noise / "short.wav", hiss(0.3, 8000, seed=21), 8000)
    return clean, noise


def coded(path: Path, samples: np.ndarray, coder: str, rate: int = 48000) -> Path:
    """Written by FFmpeg's coders, as phones and cameras do; needs PyAV."""
    import av

    layout = "stereo" if samples.shape[1] == 2 else "mono"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Memo"
        track: Any = container.add_stream(coder, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fifo = av.AudioFifo()
        fifo.write(frame)
        while part := fifo.read(track.codec_context.frame_size or 1024, partial=True):
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return path
