#!/usr/bin/env python3
"""How a model behaves outside the usual: very quiet and loud input, clean speech, noise alone, silence.

    python benchmarks/conditions.py --pairs PAIRS --model standard

PAIRS holds noisy/ and clean/ with files of the same names. Prints Markdown. Needs audenoise[metrics].
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile as sf

from audenoise.denoiser import Denoiser
from audenoise.metrics import estoi, pesq_wideband, si_sdr_db

GAINS_DB = (-40, -30, -20, -10, 0, 10)


def mean_scores(scores: list[tuple[float, ...]]) -> str:
    pesq, intelligibility, sdr = np.mean(scores, axis=0)
    return f"{pesq:.3f} | {100 * intelligibility:.1f} | {sdr:.2f}"


def score(reference: np.ndarray, estimate: np.ndarray, rate: int) -> tuple[float, float, float]:
    return (
        pesq_wideband(reference, estimate, rate),
        estoi(reference, estimate, rate),
        si_sdr_db(reference, estimate),
    )


def level_db(audio: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores outside the usual conditions.")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--step", type=int, default=4, help="take every STEPth pair (default: 4)")
    arguments = parser.parse_args()
    denoiser = Denoiser.from_preset(arguments.model)
    by_gain: dict[int, list[tuple[float, ...]]] = {gain: [] for gain in GAINS_DB}
    clean_scores, noise_levels = [], []
    names = sorted(path.name for path in (arguments.pairs / "noisy").iterdir())[:: arguments.step]
    for name in names:
        noisy, rate = sf.read(arguments.pairs / "noisy" / name, dtype="float32")
        clean, _ = sf.read(arguments.pairs / "clean" / name, dtype="float32")
        for gain_db in GAINS_DB:
            gain = np.float32(10 ** (gain_db / 20))
            by_gain[gain_db].append(score(clean, denoiser.denoise(noisy * gain, rate) / gain, rate))
        clean_scores.append(score(clean, denoiser.denoise(clean, rate), rate))
        noise = noisy - clean
        noise_levels.append(level_db(denoiser.denoise(noise, rate)) - level_db(noise))
    print(f"{len(names)} of the pairs, model {arguments.model or 'standard'}\n")
    print("| input | WB-PESQ | ESTOI % | SI-SDR dB |\n|---|---|---|---|")
    for gain_db, scores in by_gain.items():
        print(f"| noisy, {gain_db:+d} dB | {mean_scores(scores)} |")
    print(f"| clean speech | {mean_scores(clean_scores)} |")
    print(
        f"\nNoise alone is turned down by {-np.median(noise_levels):.1f} dB (median), "
        f"{-np.max(noise_levels):.1f} dB in the worst file (many of these noises contain voices)."
    )
    silence = denoiser.denoise(np.zeros(32_000, np.float32), 16_000)
    print(f"Silence comes out {'silent' if not silence.any() else f'at {level_db(silence):.0f} dBFS'}.")


if __name__ == "__main__":
    main()
