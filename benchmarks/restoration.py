#!/usr/bin/env python3
"""What an enhancer gives back, kind of damage by kind of damage, against doing less.

    python benchmarks/restoration.py --speech CLEAN [--model FOLDER] [--files 12] [--jobs 2]

CLEAN holds undamaged speech at 16 kHz or more, with several --speech searched one after another; what needs a
higher rate than a recording has is left out for it. A coder may have ended a recording's band lower than its
rate says, in every frame elsewhere: one LSD takes the whole spectrum, with such ends as if they were how
speech ends, the other what lies below; --reach leaves out recordings that end too low in more than a tenth of
their windows. Short recordings of one folder are joined up to --seconds. Rows of each table: the recording as
it came (stretched to the reference's rate by straight lines between samples), resampled properly, through the
denoiser, and, with --model, through the enhancer with and without the denoiser before it. Words are those
that a recogniser hears in the undamaged speech, and the errors against them; pocketsphinx (in
audenoise[benchmarks]) is one with an English model, or name a command by --words 'COMMAND {}'. Prints
Markdown. Needs audenoise[metrics].
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # the processes share the cores already
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np
from damage import DAMAGE, Case, cases_of
from words import recogniser_of, word_errors

from audenoise.audio import audio_info, find_audio, read_audio, resample
from audenoise.bandwidth import frame_ends_hz, speech_bandwidth_hz
from audenoise.denoiser import Denoiser
from audenoise.enhancement_metrics import mel_distance, pitch_error
from audenoise.enhancer import Enhancer
from audenoise.errors import AudenoiseError, SignalError
from audenoise.metrics import dnsmos, estoi, log_spectral_distance, pesq_wideband
from audenoise.presets import for_files
from audenoise.workers import map_in_processes

GAP_S = 0.25
N_FFT, HOP = 2048, 512
AS_IT_CAME, RESAMPLED, DENOISED = "as it came", "resampled", "denoiser"
ENHANCED, BOTH = "enhancer", "denoiser, enhancer"
Scores = dict[str, float]


def ends_hz(audio: np.ndarray, rate: int) -> np.ndarray:
    """Where the band of a recording ends, or what its coder left of it, in each window of the LSD."""
    ends = frame_ends_hz(audio, rate, hop_length=HOP, win_length=N_FFT)
    before = N_FFT // HOP - 1  # frames that begin before the recording does
    return np.minimum(
        ends[before : before + (audio.size - N_FFT) // HOP + 1], speech_bandwidth_hz(audio, rate)
    )


def known_lsd(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Log-spectral distance below the end of the reference's own band."""
    known = np.fft.rfftfreq(N_FFT, 1 / rate) < ends_hz(reference, rate)[:, None]
    return log_spectral_distance(reference, estimate, n_fft=N_FFT, hop_length=HOP, bins=known)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "lsd": lambda reference, estimate, rate: log_spectral_distance(reference, estimate),
    "known_lsd": known_lsd,
    "mel_db": mel_distance,
    "pesq_wb": pesq_wideband,
    "estoi": estoi,
    "dnsmos": lambda reference, estimate, rate: dnsmos(estimate, rate)["ovrl"],
}
COLUMNS = {
    "lsd": ("LSD ↓", 1, 2), "known_lsd": ("LSD below the end ↓", 1, 2), "mel_db": ("mel, dB ↓", 1, 1),
    "pesq_wb": ("WB-PESQ", 1, 2), "estoi": ("ESTOI %", 100, 1), "dnsmos": ("DNSMOS", 1, 2),
    "f0_cents": ("F0, cents ↓", 1, 0), "f0_gross": ("F0 gross, % ↓", 100, 1),
    "word_errors": ("words wrong, % ↓", 100, 0),
}  # fmt: skip


@lru_cache(maxsize=1)
def tools(denoiser: str | None, model: str | None) -> tuple[Denoiser, Enhancer | None]:
    enhancer = None if model is None else Enhancer.from_preset(model, threads=1)
    return Denoiser.from_preset(for_files(denoiser), threads=1), enhancer


def stretched(audio: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """At another rate, by straight lines between samples: what nobody has taken care of."""
    count = int(audio.size * to_rate / rate + 0.5)
    return np.interp(np.arange(count) * rate / to_rate, np.arange(audio.size), audio).astype(np.float32)


def fitted(audio: np.ndarray, n_samples: int) -> np.ndarray:
    """Of this length: two conversions of the rate may differ by a sample."""
    return np.pad(audio[:n_samples], (0, max(0, n_samples - audio.size)))


def systems(case: Case, denoiser: Denoiser, enhancer: Enhancer | None) -> dict[str, np.ndarray]:
    """Each system's answer at the reference's rate."""
    to_rate, found = case.reference_rate, {RESAMPLED: resample(case.audio, case.rate, case.reference_rate)}
    if case.rate != to_rate:
        found = {AS_IT_CAME: stretched(case.audio, case.rate, to_rate), **found}
    denoised = denoiser.denoise(case.audio, case.rate)
    found[DENOISED] = resample(denoised, case.rate, to_rate)
    if enhancer is not None:
        found[ENHANCED] = enhancer.enhance(case.audio, case.rate, output_rate=to_rate)
        found[BOTH] = enhancer.enhance(denoised, case.rate, output_rate=to_rate)
    return {name: fitted(audio, case.reference.size) for name, audio in found.items()}


def scores(reference: np.ndarray, estimate: np.ndarray, rate: int) -> Scores:
    found: Scores = {}
    for name, metric in METRICS.items():
        try:
            found[name] = float(metric(reference, estimate, rate))
        except SignalError:  # too short for it, or nothing is left
            continue
    pitches = pitch_error(reference, estimate, rate)
    return found | {name: value for name, value in pitches.items() if np.isfinite(value)}


def reaches(audio: np.ndarray, rate: int, reach_hz: float) -> bool:
    """Whether nine tenths of its windows have their band up to there."""
    return audio.size >= N_FFT and bool(np.quantile(ends_hz(audio, rate), 0.1) >= reach_hz)


def joined(folder: Path, seconds: float, reach_hz: float = 0.0) -> list[list[Path]]:
    """Recordings that reach so high, the short ones of a folder together until they last long enough."""
    groups: list[list[Path]] = []
    waiting: list[Path] = []
    lasted, last = 0.0, None
    for path in find_audio(folder):
        info = audio_info(path)
        if reach_hz and not reaches(read_audio(path)[0].mean(axis=1), info.sample_rate, reach_hz):
            continue
        if last != (path.parent, info.sample_rate):
            waiting, lasted = [], 0.0
        last = (path.parent, info.sample_rate)
        waiting.append(path)
        lasted += (info.n_samples or 0) / info.sample_rate + GAP_S
        if lasted >= seconds:
            groups.append(waiting)
            waiting, lasted = [], 0.0
    return groups


def groups_of(speech: list[Path], *, files: int, seconds: float, reach_hz: float) -> list[list[Path]]:
    """Recordings to be joined, so many of each folder, spread over it."""
    groups: list[list[Path]] = []
    for folder in speech:
        own = joined(folder, seconds, reach_hz)
        if not own:
            reach = f" that reaches {reach_hz:g} Hz" if reach_hz else ""
            raise AudenoiseError(f"{folder}: holds no {seconds:g} s of speech in one folder{reach}")
        spread = np.linspace(0, len(own) - 1, min(files, len(own))).astype(int)
        groups += [own[i] for i in spread]
    return groups


def read_joined(paths: list[Path], seconds: float) -> tuple[np.ndarray, int]:
    parts, rate = [], 0
    for path in paths:
        audio, rate = read_audio(path)
        parts += [audio.mean(axis=1), np.zeros(round(GAP_S * rate), np.float32)]
    return np.concatenate(parts)[: round(2 * seconds * rate)], rate


def measure(
    numbered: tuple[int, list[Path]],
    *,
    denoiser: str | None,
    model: str | None,
    names: list[str],
    words: str,
    words_only: bool,
    seconds: float,
) -> dict[str, Any]:
    """All cases of one recording: {damage: {system: scores}}."""
    number, paths = numbered
    speech, rate = read_joined(paths, seconds)
    if rate > 48000:
        speech, rate = resample(speech, rate, 48000), 48000
    recogniser, (first, second) = recogniser_of(words), tools(denoiser, model)
    result: dict[str, Any] = {}
    undamaged: dict[tuple[int, bytes], list[str]] = {}  # one reference for many kinds of damage
    for name, case in cases_of(speech, rate, seed=number, names=names).items():
        answers, to_rate = systems(case, first, second), case.reference_rate
        result[name] = {
            system: {} if words_only else scores(case.reference, audio, to_rate)
            for system, audio in answers.items()
        }
        if recogniser is None:
            continue
        key = to_rate, case.reference.tobytes()
        if key not in undamaged:
            undamaged[key] = recogniser(case.reference, to_rate)
        for system, audio in answers.items():
            result[name][system]["n_words"] = len(undamaged[key])
            result[name][system]["n_wrong"] = word_errors(undamaged[key], recogniser(audio, to_rate))
    return result


def summary(results: list[dict[str, Any]], names: list[str]) -> dict[str, dict[str, Scores]]:
    """Means over recordings by damage and system; word errors over all words."""
    found: dict[str, dict[str, Scores]] = {}
    for name in names:
        rows = [result[name] for result in results if name in result]
        for system in rows[0] if rows else ():
            own = [row[system] for row in rows]
            means: Scores = {"files": len(own)}
            for metric in COLUMNS:
                values = [each[metric] for each in own if metric in each]
                if values:
                    means[metric] = float(np.mean(values))
            if n_words := sum(each.get("n_words", 0) for each in own):
                means["word_errors"] = sum(each["n_wrong"] for each in own) / n_words
            found.setdefault(name, {})[system] = means
    return found


def table(found: dict[str, dict[str, Scores]]) -> str:
    shown = [each for each in COLUMNS if any(each in row for rows in found.values() for row in rows.values())]
    lines = [
        f"| damage | system | {' | '.join(COLUMNS[each][0] for each in shown)} | files |",
        "|---|---|" + "---:|" * (len(shown) + 1),
    ]
    for name, rows in found.items():
        for i, (system, row) in enumerate(rows.items()):
            cells = [
                f"{row[each] * COLUMNS[each][1]:.{COLUMNS[each][2]}f}" if each in row else "–"
                for each in shown
            ]
            lines.append(f"| {'' if i else name} | {system} | {' | '.join(cells)} | {row['files']:.0f} |")
    return "\n".join(lines)


def targets(found: dict[str, dict[str, Scores]]) -> list[tuple[str, bool]]:
    """What an enhancer is to reach, and whether it does; nothing without one."""
    lines: list[tuple[str, bool]] = []

    def judge(text: str, value: float, met: bool) -> None:
        lines.append((f"{text}: {value:.2f}", bool(met)))

    # What `audenoise enhance` does, and what it does with --no-denoise.
    for name in ("8 → 16 kHz", "16 → 48 kHz"):
        for system in (BOTH, ENHANCED):
            if "lsd" in (row := found.get(name, {}).get(system, {})):
                judge(f"{name}, {system}: LSD at most 1.0", row["lsd"], row["lsd"] <= 1.0)
    for name in ("telephone", "clipped, 5 %"):
        rows = found.get(name, {})
        if BOTH in rows and all("dnsmos" in rows[each] for each in (BOTH, DENOISED)):
            gain = rows[BOTH]["dnsmos"] - rows[DENOISED]["dnsmos"]
            judge(f"{name}, DNSMOS over the denoiser alone, at least + 0.4", gain, gain >= 0.4)
            if all("estoi" in rows[each] for each in (BOTH, RESAMPLED)):
                lost = rows[BOTH]["estoi"] - rows[RESAMPLED]["estoi"]
                judge(f"{name}, ESTOI over the input's, at least 0", lost, lost >= 0)
    for system in (BOTH, ENHANCED):
        if "pesq_wb" in (row := found.get("none", {}).get(system, {})):
            judge(f"undamaged speech, {system}: WB-PESQ at least 4.0", row["pesq_wb"], row["pesq_wb"] >= 4.0)
    for name, rows in found.items():
        if "word_errors" in rows.get(BOTH, {}):
            more = 100 * (rows[BOTH]["word_errors"] - rows[RESAMPLED]["word_errors"])
            judge(f"{name}, words wrong over the input's, at most 0 %", more, more <= 0)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", required=True, metavar="CLEAN")
    parser.add_argument("--model", help="enhancer: a model folder or a bundled one")
    parser.add_argument("--denoiser", help="default: the one for files")
    parser.add_argument("--files", type=int, default=12, help="recordings of each --speech (default: 12)")
    parser.add_argument("--seconds", type=float, default=4.0, help="least length of one (default: 4)")
    parser.add_argument("--reach", type=float, default=0.0, metavar="HZ", help="least end of a speech's band")
    parser.add_argument("--damage", help=f"with semicolons (default: all): {'; '.join(DAMAGE)}")
    parser.add_argument("--words", default="auto", help="auto, none, pocketsphinx, or 'COMMAND {}'")
    parser.add_argument("--words-only", action="store_true", help="count them and measure nothing else")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    names = [each.strip() for each in arguments.damage.split(";")] if arguments.damage else list(DAMAGE)
    if unknown := [name for name in names if name not in DAMAGE]:
        print(f"restoration.py: --damage {unknown[0]}: is none of {', '.join(DAMAGE)}", file=sys.stderr)
        return 1
    try:
        recogniser = recogniser_of(arguments.words)
        if arguments.words_only and recogniser is None:
            raise AudenoiseError("--words-only: needs a recogniser; see --words")
        tools(arguments.denoiser, arguments.model)
        groups = groups_of(
            arguments.speech, files=arguments.files, seconds=arguments.seconds, reach_hz=arguments.reach
        )
        work = partial(
            measure,
            denoiser=arguments.denoiser,
            model=arguments.model,
            names=names,
            words=arguments.words,
            words_only=arguments.words_only,
            seconds=arguments.seconds,
        )
        results = list(map_in_processes(work, list(enumerate(groups)), arguments.jobs))
    except AudenoiseError as error:
        print(f"restoration.py: {error}", file=sys.stderr)
        return 1
    found = summary(results, names)
    reached = targets(found)
    text = f"{len(groups)} recordings, enhancer: {arguments.model or 'none'}\n\n{table(found)}\n"
    if recogniser is None:
        text += "\nNo recogniser: install pocketsphinx, or name a command by --words.\n"
    if reached:
        text += "\n" + "\n".join(f"- {line} ({'met' if met else 'NOT met'})" for line, met in reached) + "\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    if arguments.json:
        content = {
            "model": arguments.model,
            "denoiser": str(for_files(arguments.denoiser)),
            "recordings": [[str(path) for path in group] for group in groups],
            "damage": found,
            "targets": [{"target": line, "met": met} for line, met in reached],
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
