#!/usr/bin/env python3
"""What happens above 8 kHz: is speech kept there, is noise turned down, is there a seam?

    python benchmarks/full_band.py --clean CLEAN --noise NOISE --model standard

CLEAN and NOISE hold recordings at 32 kHz or more (others are left out). Every clean recording is mixed with a
piece of a noise at 0, 5, 10 and 15 dB in turn. Prints Markdown.
"""

import argparse
from pathlib import Path

import numpy as np

from audenoise.audio import audio_info, find_audio, read_audio
from audenoise.denoiser import Denoiser
from audenoise.mixing import loop_to_length, mix_at_snr
from audenoise.spectral import stft

RATE, EDGE_HZ, SEAM_HZ = 48_000, 8_000, 500
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
PAUSE_DB = -40.0


def full_band_files(folder: Path) -> list[Path]:
    return [path for path in find_audio(folder) if audio_info(path).sample_rate >= 32_000]


def power(audio: np.ndarray) -> np.ndarray:
    """(bins, frames), 1024 samples a frame."""
    return np.square(np.abs(stft(audio, n_fft=1024, hop_length=512)))


def db(ratio: float) -> float:
    return float(10 * np.log10(ratio + 1e-20))


def measure(clean: np.ndarray, noisy: np.ndarray, denoised: np.ndarray) -> dict[str, float]:
    frequency = np.arange(513) * RATE / 1024
    upper = frequency >= EDGE_HZ
    spectra = [stft(audio, n_fft=1024, hop_length=512) for audio in (clean, noisy, denoised)]
    reference, before, after = (spectrum[upper] for spectrum in spectra)
    signal = np.square(np.abs(reference)).sum()
    result = {
        "SNR above 8 kHz, noisy": db(signal / np.square(np.abs(reference - before)).sum()),
        "SNR above 8 kHz, denoised": db(signal / np.square(np.abs(reference - after)).sum()),
    }
    activity = power(clean).sum(axis=0)
    pauses = activity < activity.max() * 10 ** (PAUSE_DB / 10)
    if pauses.any():
        gains = [power(audio)[:, pauses].mean(axis=1) + 1e-20 for audio in (denoised, noisy)]
        gain_db = 10 * np.log10(gains[0] / gains[1])
        below = (frequency >= EDGE_HZ - SEAM_HZ) & (frequency < EDGE_HZ)
        above = (frequency >= EDGE_HZ) & (frequency < EDGE_HZ + SEAM_HZ)
        result["noise in pauses, above 8 kHz"] = float(gain_db[upper].mean())
        result["noise in pauses, below 8 kHz"] = float(gain_db[~upper].mean())
        result["step of the noise at 8 kHz (±500 Hz)"] = float(gain_db[above].mean() - gain_db[below].mean())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--step", type=int, default=1, help="take every STEPth clean recording (default: 1)")
    arguments = parser.parse_args()
    denoiser, rng = Denoiser.from_preset(arguments.model), np.random.default_rng(0)
    noises, results = full_band_files(arguments.noise), []
    for number, path in enumerate(full_band_files(arguments.clean)[:: arguments.step]):
        clean = read_audio(path, sample_rate=RATE)[0][:, 0]
        noise = read_audio(noises[int(rng.integers(len(noises)))], sample_rate=RATE)[0][:, 0]
        noise = loop_to_length(noise, clean.size, int(rng.integers(noise.size)))
        if clean.any() and noise.any():
            noisy = mix_at_snr(clean, noise, SNRS_DB[number % len(SNRS_DB)], sample_rate=RATE)
            results.append(measure(clean, noisy, denoiser.denoise(noisy, RATE)))
    print(f"{len(results)} mixtures at 48 kHz, model {arguments.model or 'standard'}, dB\n")
    print("| | mean | median |\n|---|---:|---:|")
    for key in results[0]:
        values = [result[key] for result in results if key in result]
        print(f"| {key} | {np.mean(values):.1f} | {np.median(values):.1f} |")


if __name__ == "__main__":
    main()
