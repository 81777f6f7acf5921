#!/usr/bin/env python3
"""How a model behaves condition by condition: noises, rooms, levels, clean speech, noise alone, silence.

    python benchmarks/conditions.py --pairs PAIRS [--model NAME] [--noise keyboard=DIR] [--jobs 2]

PAIRS holds noisy/ and clean/ with files of the same names. Hum, clicks, music, wind and steady noises are
made by the script; babble is six other speakers of PAIRS/clean; rooms are simulated, and judged against the
speech with the reflections of the first 50 ms (what a model is trained to leave). "Behind another one" is one
recording of two pairs, of which the second is scored: another voice, noise and level at once. `--noise
NAME=DIR` adds a row for recordings of one's own. Prints Markdown. Needs audenoise[metrics].
"""

import argparse
import json
import os
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # the processes share the cores already
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np
from sounds import SOUNDS, pink, white

from audenoise.audio import find_audio, read_audio
from audenoise.degradation import reverberate, simulate_room
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, SignalError
from audenoise.metrics import estoi, pesq_wideband, si_sdr_db
from audenoise.mixing import loop_to_length, mix_at_snr
from audenoise.workers import map_in_processes

GAINS_DB = (-40, -30, -20, -10, 10, 20)
COLUMNS = {"pesq": ("WB-PESQ", 1, 2), "estoi": ("ESTOI %", 100, 1), "si_sdr_db": ("SI-SDR dB", 1, 1)}
BABBLE_VOICES = 6
BEHIND_ANOTHER = "as they are, behind another one"
PAUSE_DB, PAUSE_S = -40.0, 0.1
Scores = dict[str, float]


@lru_cache(maxsize=1)
def denoiser_of(model: str | None) -> Denoiser:
    return Denoiser.from_preset(model, threads=1)


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    audio, rate = read_audio(path)
    return audio.mean(axis=1), rate


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))


def scores(reference: np.ndarray, estimate: np.ndarray, rate: int) -> Scores:
    return {
        "pesq": pesq_wideband(reference, estimate, rate),
        "estoi": estoi(reference, estimate, rate),
        "si_sdr_db": si_sdr_db(reference, estimate),
    }


def mixtures(
    clean: np.ndarray,
    rate: int,
    *,
    number: int,
    snr_db: float,
    voices: list[Path],
    noises: dict[str, list[Path]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Condition to (reference, input)."""
    rng = np.random.default_rng([7, number])
    made = {
        name: (clean, mix_at_snr(clean, sound(rng, clean.size, rate), snr_db, sample_rate=rate))
        for name, sound in SOUNDS.items()
    }
    if len(voices) > BABBLE_VOICES:
        others = [(number * 7 + 1 + k) % len(voices) for k in range(BABBLE_VOICES)]
        babble = np.zeros_like(clean)
        for k in others:
            voice = read_audio(voices[k], sample_rate=rate)[0].mean(axis=1)
            babble += loop_to_length(voice, clean.size)
        made[f"babble ({BABBLE_VOICES} voices)"] = (
            clean,
            mix_at_snr(clean, babble, snr_db, sample_rate=rate),
        )
    for name, paths in noises.items():
        noise = read_audio(paths[number % len(paths)], sample_rate=rate)[0].mean(axis=1)
        if noise.any():
            noise = loop_to_length(noise, clean.size)
            made[name] = (clean, mix_at_snr(clean, noise, snr_db, sample_rate=rate))
    made = {f"{name}, {snr_db:g} dB": pair for name, pair in made.items()}
    wet, early = reverberate(clean, simulate_room(rng, rate), rate)
    made["room"] = (early, wet)
    made["room and pink noise, 15 dB"] = (
        early,
        mix_at_snr(wet, pink(rng, wet.size, rate), 15.0, sample_rate=rate),
    )
    return made


def pause_levels_db(clean: np.ndarray, audio: np.ndarray, rate: int) -> np.ndarray:
    """Levels of `audio` in pieces of 0.1 s in which nobody speaks."""
    step = round(PAUSE_S * rate)
    count = clean.size // step
    spoken, heard = (part[: count * step].reshape(count, step) for part in (clean, audio))
    power = np.square(spoken).mean(axis=1)
    pauses = heard[power < power.max() * 10 ** (PAUSE_DB / 10)]
    return 10 * np.log10(np.square(pauses).mean(axis=1) + 1e-12)


def measure_pair(
    number: int,
    *,
    names: list[str],
    pairs: Path,
    model: str | None,
    snr_db: float,
    noises: dict[str, list[Path]],
) -> dict[str, Any]:
    """All conditions of one pair: {"scores": {condition: [before, after]}, "turned_down": {noise: dB}}."""
    denoiser, name = denoiser_of(model), names[number]
    noisy, rate = read_mono(pairs / "noisy" / name)
    clean, _ = read_mono(pairs / "clean" / name)
    voices = [pairs / "clean" / other for other in names if other != name]
    cases = {"as they are": (clean, noisy)}
    for gain_db in GAINS_DB:
        cases[f"as they are, {gain_db:+d} dB"] = (clean, noisy * np.float32(10 ** (gain_db / 20)))
    cases["clean speech"] = (clean, clean)
    other = names[(number + len(names) // 2) % len(names)]
    leads = {BEHIND_ANOTHER: read_audio(pairs / "noisy" / other, sample_rate=rate)[0].mean(axis=1)}
    cases[BEHIND_ANOTHER] = (clean, noisy)
    made = mixtures(clean, rate, number=number, snr_db=snr_db, voices=voices, noises=noises)
    result: dict[str, Any] = {"scores": {}, "turned_down": {}, "pauses": None}
    for condition, (reference, given) in (cases | made).items():
        lead = leads.get(condition, given[:0])
        denoised = denoiser.denoise(np.concatenate([lead, given]), rate)[lead.size :]
        try:
            result["scores"][condition] = [scores(reference, audio, rate) for audio in (given, denoised)]
        except SignalError:
            continue  # no speech in it, or too short
        if condition.startswith("pink noise"):
            before, after = (pause_levels_db(clean, audio, rate) for audio in (given, denoised))
            if len(before) > 4:
                result["pauses"] = [float((before - after).mean()), float(before.std()), float(after.std())]
    rng = np.random.default_rng([8, number])
    alone = {"of the pairs": noisy - clean}
    alone |= {
        f"{sound}, {dbfs} dBFS": make(rng, clean.size, rate) * np.float32(10 ** (dbfs / 20))
        for sound, make in (("white", white), ("pink", pink))
        for dbfs in (-50, -20)
    }
    for sound, noise in alone.items():
        if noise.any():
            result["turned_down"][sound] = level_db(noise) - level_db(denoiser.denoise(noise, rate))
    return result


def table(results: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    titles = [f"{title}, in → out" for title, _, _ in COLUMNS.values()]
    lines = [
        f"| input | {' | '.join(titles)} | SI-SDR lower | files |",
        "|---|" + "---:|" * (len(titles) + 2),
    ]
    summary: dict[str, Any] = {}
    conditions = list(dict.fromkeys(name for result in results for name in result["scores"]))
    for condition in conditions:
        rows = [result["scores"][condition] for result in results if condition in result["scores"]]
        cells, means = [], []
        for side in (0, 1):
            means.append({key: float(np.mean([row[side][key] for row in rows])) for key in COLUMNS})
        for key, (_, scale, digits) in COLUMNS.items():
            values = [
                "∞" if mean[key] > 100 and key == "si_sdr_db" else f"{mean[key] * scale:.{digits}f}"
                for mean in means
            ]
            cells.append(" → ".join(values))
        worse = sum(after["si_sdr_db"] < before["si_sdr_db"] for before, after in rows)
        lines.append(f"| {condition} | {' | '.join(cells)} | {worse} | {len(rows)} |")
        summary[condition] = {"before": means[0], "after": means[1], "worse": worse, "files": len(rows)}
    return "\n".join(lines), summary


def noise_alone(results: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    summary = {}
    lines = ["| noise alone | turned down by, dB, median | least |", "|---|---:|---:|"]
    for sound in dict.fromkeys(name for result in results for name in result["turned_down"]):
        values = [result["turned_down"][sound] for result in results if sound in result["turned_down"]]
        summary[sound] = {"median_db": float(np.median(values)), "least_db": float(np.min(values))}
        lines.append(f"| {sound} | {np.median(values):.1f} | {np.min(values):.1f} |")
    return "\n".join(lines), summary


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--noise", action="append", default=[], metavar="NAME=DIR", help="may be repeated")
    parser.add_argument("--snr-db", type=float, default=5.0, help="of the noises that are added (default: 5)")
    parser.add_argument("--step", type=int, default=4, help="take every STEPth pair (default: 4)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    noises = {
        name: find_audio(Path(folder))
        for name, _, folder in (each.partition("=") for each in arguments.noise)
    }
    names = sorted(path.name for path in (arguments.pairs / "noisy").glob("*.*"))
    if empty := [name for name, paths in noises.items() if not paths] or ([] if names else ["--pairs"]):
        print(f"conditions.py: {', '.join(empty)}: no audio in this folder", file=sys.stderr)
        return 1
    measure = partial(
        measure_pair,
        names=names,
        pairs=arguments.pairs,
        model=arguments.model,
        snr_db=arguments.snr_db,
        noises=noises,
    )
    try:
        denoiser = denoiser_of(arguments.model)
        results = list(map_in_processes(measure, range(0, len(names), arguments.step), arguments.jobs))
    except AudenoiseError as error:
        print(f"conditions.py: {error}", file=sys.stderr)
        return 1
    scored, by_condition = table(results)
    alone, by_noise = noise_alone(results)
    pauses = np.asarray([result["pauses"] for result in results if result["pauses"]])
    silence = denoiser.denoise(np.zeros(32_000, np.float32), 16_000)
    text = f"{len(results)} of the pairs, model {arguments.model or 'standard'}\n\n{scored}\n\n{alone}\n\n"
    if len(pauses):
        text += (
            f"Pauses in pink noise: {pauses[:, 0].mean():.1f} dB quieter; the level of 0.1 s varies by "
            f"{pauses[:, 2].mean():.1f} dB (standard deviation), {pauses[:, 1].mean():.1f} dB before. "
        )
    text += f"Silence comes out {'silent' if not silence.any() else f'at {level_db(silence):.0f} dBFS'}.\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        content = {
            "model": arguments.model or "standard",
            "conditions": by_condition,
            "noise_alone": by_noise,
            "pauses": pauses.mean(axis=0).tolist() if len(pauses) else None,
            "silence_dbfs": level_db(silence),
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
