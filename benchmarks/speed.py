#!/usr/bin/env python3
"""Speed, start-up time and memory of audenoise against others, as ratios within one run.

    python benchmarks/speed.py [--model NAME] [--enhancer FOLDER] [--parts PARTS] [--markdown OUT]

Each measurement runs in a process of its own, pinned to its cores, with as many threads as cores; the systems
take turns, so that a change in the machine's load meets them all, and the best of the turns counts. Rows
whose package isn't there are left out with a word. Linux or macOS (macOS can't pin: there the number of
threads alone is set).
"""

import argparse
import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# With --measure this script is the child process: the thread counts have to be set before numpy is imported.
if "--measure" in sys.argv:
    _cores = int(sys.argv[sys.argv.index("--cores") + 1])
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[_name] = str(_cores)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(_cores)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_cores])

import numpy as np
import soundfile as sf
import soxr
from efficiency import efficiency_table, profile_denoiser, sgemm_flops

PARTS = ("throughput", "efficiency", "start", "memory")
SYSTEMS = {
    "audenoise": "audenoise, `Denoiser.denoise`",
    "enhancer": "audenoise, `Enhancer.enhance`",
    "both": "`audenoise enhance` of a file: denoiser (`large` unless named by --model) and enhancer",
    "rnnoise": "RNNoise, pyrnnoise with resampling to 48 kHz",
    "noisereduce": "noisereduce, defaults",
    "onnx": "the network alone, ONNX Runtime",
    "keras": "the network alone, Keras `predict`",
}


ENHANCER_TARGET = 20.0  # times real time, on two cores


def make_signal(duration_s: float, sample_rate: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes like syllables, (samples,) float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    return (rng.standard_normal(t.size) * 0.05 * (1.2 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def prepare_audenoise(audio: np.ndarray, sample_rate: int, model: str | None) -> Callable[[], Any]:
    from audenoise.denoiser import Denoiser

    denoiser = Denoiser.from_preset(model, threads=int(os.environ["OMP_NUM_THREADS"]))
    return lambda: denoiser.denoise(audio, sample_rate)


def prepare_enhancer(
    audio: np.ndarray, sample_rate: int, _: str | None, *, enhancer: str | None
) -> Callable[[], Any]:
    from audenoise.enhancer import Enhancer

    loaded = Enhancer.from_preset(enhancer, threads=int(os.environ["OMP_NUM_THREADS"]))
    return lambda: loaded.enhance(audio, sample_rate)


def prepare_both(
    audio: np.ndarray, sample_rate: int, model: str | None, *, enhancer: str | None
) -> Callable[[], Any]:
    from audenoise.enhancer_batch import EnhanceSettings, enhance_file, load_tools
    from audenoise.file_plan import FilePair

    settings = EnhanceSettings(model=enhancer, denoiser=model, overwrite=True)
    tools = load_tools(settings, int(os.environ["OMP_NUM_THREADS"]))
    folder = Path(tempfile.mkdtemp(prefix="audenoise-speed."))
    atexit.register(shutil.rmtree, folder)
    sf.write(folder / "in.wav", audio, sample_rate, subtype="FLOAT")
    return lambda: enhance_file(tools, FilePair(folder / "in.wav", folder / "out.wav"), settings)


def prepare_rnnoise(audio: np.ndarray, sample_rate: int, _: str | None) -> Callable[[], Any]:
    from audenoise.evaluation import RUNNERS

    return lambda: RUNNERS["rnnoise"](audio[:, np.newaxis], sample_rate)


def prepare_noisereduce(audio: np.ndarray, sample_rate: int, _: str | None) -> Callable[[], Any]:
    from audenoise.evaluation import RUNNERS

    return lambda: RUNNERS["noisereduce"](audio[:, np.newaxis], sample_rate)


def network_input(audio: np.ndarray, model: str | None) -> tuple[Path, np.ndarray]:
    """The folder of the model and the spectrum, (1, frames, bins, 2), of audio at the model's own rate."""
    from audenoise.presets import load_preset
    from audenoise.spectral import make_window, stft

    preset = load_preset(model)
    sizes = preset.stft
    rate_audio = soxr.resample(audio, 16_000, preset.sample_rate)
    spectrum = stft(
        rate_audio,
        n_fft=sizes.n_fft,
        hop_length=sizes.hop_length,
        win_length=sizes.win_length,
        window=sizes.window,
    )
    spectrum = spectrum.T / make_window(sizes.window, sizes.win_length).sum()
    return preset.folder, np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)[np.newaxis]


def prepare_onnx(audio: np.ndarray, _: int, model: str | None) -> Callable[[], Any]:
    import onnxruntime

    folder, spectrum = network_input(audio, model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    feed = {"noisy": spectrum}
    for tensor in session.get_inputs():
        if tensor.name not in feed:  # a recurrent state: zeros, batch 1
            shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
            feed[tensor.name] = np.zeros(shape, np.int64 if tensor.type == "tensor(int64)" else np.float32)
    return lambda: session.run(["denoised"], feed)


def prepare_keras(audio: np.ndarray, _: int, model: str | None) -> Callable[[], Any]:
    from audenoise.publishing import load_keras_model

    folder, spectrum = network_input(audio, model)
    network: Any = load_keras_model(folder)[0]
    return lambda: network.predict(spectrum, verbose=0)


PREPARE = {
    "audenoise": prepare_audenoise,
    "rnnoise": prepare_rnnoise,
    "noisereduce": prepare_noisereduce,
    "onnx": prepare_onnx,
    "keras": prepare_keras,
}


def measure(
    system: str, sample_rate: int, duration_s: float, *, model: str | None, enhancer: str | None
) -> dict[str, Any]:
    """In the child process: seconds for one pass, after a short one that warms up."""
    if system == "peak":
        return {"flops": sgemm_flops()}
    if system == "profile":
        return profile_denoiser(make_signal(duration_s, sample_rate), sample_rate, model)
    prepare = PREPARE | {
        "enhancer": partial(prepare_enhancer, enhancer=enhancer),
        "both": partial(prepare_both, enhancer=enhancer),
    }
    prepare[system](make_signal(1.0, sample_rate), sample_rate, model)()
    run = prepare[system](make_signal(duration_s, sample_rate), sample_rate, model)
    if system == "keras":
        run()  # the first pass of a new length is traced
    start, busy = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - busy}


def measure_apart(
    system: str, sample_rate: int, cores: int, arguments: argparse.Namespace
) -> dict[str, Any] | str:
    """What `measure` returns in a process of its own, or why it doesn't."""
    command = [
        sys.executable,
        __file__,
        "--measure",
        system,
        "--cores",
        str(cores),
        "--rate",
        str(sample_rate),
    ]
    command += [
        "--duration",
        str(arguments.duration),
        *(["--model", arguments.model] if arguments.model else []),
        *(["--enhancer", arguments.enhancer] if arguments.enhancer else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def throughput(arguments: argparse.Namespace) -> dict[str, Any]:
    # The two network rows have no rate of their own: the model's.
    cases = [
        (s, rate, cores)
        # Who uses one core of two would look twice as fast by processor time.
        for cores in ((1,) if arguments.clock == "processor" else (1, 2))
        for rate in (16_000, 48_000)
        for s in arguments.systems.split(",")
    ]
    cases = [case for case in cases if case[0] not in ("onnx", "keras") or case[1] == 16_000]
    speeds: dict[str, float] = {}
    failures: dict[str, str] = {}
    for _ in range(arguments.turns):
        for system, rate, cores in cases:
            if system in failures:
                continue
            outcome = measure_apart(system, rate, cores, arguments)
            key = f"{system} {rate} Hz {cores} cores"
            if isinstance(outcome, str):
                failures[system] = outcome
            else:
                taken = outcome["seconds"]
                if arguments.clock == "processor":
                    taken = outcome["processor_seconds"]
                speeds[key] = max(speeds.get(key, 0.0), arguments.duration / taken)
    return {
        "duration_s": arguments.duration,
        "clock": arguments.clock,
        "times_real_time": speeds,
        "failures": failures,
    }


def efficiency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Share of the machine's peak that the network reaches, and where the rest of a run goes."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(arguments.turns):
        for cores in (1, 2):
            peak = measure_apart("peak", 16_000, cores, arguments)
            profile = measure_apart("profile", 16_000, cores, arguments)
            if isinstance(peak, str) or isinstance(profile, str):
                return {"failures": {"efficiency": peak if isinstance(peak, str) else str(profile)}}
            kept = best.setdefault(str(cores), {"flops": 0.0, "seconds": float("inf")})
            kept["flops"] = max(kept["flops"], peak["flops"])
            if profile["seconds"] < kept["seconds"]:
                kept |= profile
    return {"cores": best, "duration_s": arguments.duration, "failures": {}}


def throughput_table(result: dict[str, Any], systems: list[str]) -> str:
    speeds = result["times_real_time"]
    columns = [
        (rate, cores)
        for rate in (16_000, 48_000)
        for cores in (1, 2)
        if any(key.endswith(f" {rate} Hz {cores} cores") for key in speeds)
    ]
    titles = [f"{rate // 1000} kHz, {cores} core{'s' * (cores > 1)}" for rate, cores in columns]
    lines = [
        f"Throughput, {result['duration_s']:g} s of one channel, by {result['clock']} time: times real time "
        "(share of the first row's)",
        "",
        "| | " + " | ".join(titles) + " |",
        "|---|" + "---:|" * len(titles),
    ]
    first = next((system for system in systems if system not in result["failures"]), None)
    for system in systems:
        cells = []
        for rate, cores in columns:
            speed = speeds.get(f"{system} {rate} Hz {cores} cores")
            base = speeds.get(f"{first} {rate} Hz {cores} cores")
            cells.append(
                "n/a" if speed is None else f"{speed:.0f}" + (f" ({speed / base:.2f})" if base else "")
            )
        if system not in result["failures"]:
            lines.append(f"| {SYSTEMS[system]} | " + " | ".join(cells) + " |")
    lines += [f"\nNot measured: {system}: {why}" for system, why in result["failures"].items()]
    if reached := enhancer_targets(speeds):
        lines += ["", *(f"- {line} ({'met' if met else 'NOT met'})" for line, met in reached)]
    return "\n".join(lines)


def enhancer_targets(speeds: dict[str, float]) -> list[tuple[str, bool]]:
    """Whether an enhancer is fast enough, with and without the denoiser; nothing without two cores."""
    lines: list[tuple[str, bool]] = []
    for system in ("enhancer", "both"):
        own = [speed for key, speed in speeds.items() if key.startswith(system) and key.endswith(" 2 cores")]
        if own:
            text = f"{SYSTEMS[system]}: at least {ENHANCER_TARGET:g} times real time on two cores"
            lines.append((f"{text}: {min(own):.1f}", min(own) >= ENHANCER_TARGET))
    return lines


def run_timed(command: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak resident megabytes of a command; raises with its last line if it fails."""
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError((lines or [f"exit code {process.returncode}"])[-1])
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def predict_command(source: Path, target: Path, model: str | None) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "audenoise",
        "predict",
        str(source),
        "-o",
        str(target),
        "--overwrite",
        "--quiet",
    ]
    return command + (["--model", model] if model else [])


def start_up(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clip = folder / "clip.wav"
    sf.write(clip, make_signal(1.0, 16_000), 16_000)
    commands = {
        "bare Python that imports numpy and onnxruntime": [sys.executable, "-c", "import numpy, onnxruntime"],
        "`audenoise --help`": [sys.executable, "-m", "audenoise", "--help"],
        "`audenoise predict` of a 1 s clip": predict_command(clip, folder / "out.wav", arguments.model),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    failures: dict[str, str] = {}
    for turn in range(6):
        for name, command in commands.items():
            if name in failures:
                continue
            try:
                elapsed, _ = run_timed(command)
            except RuntimeError as error:
                failures[name] = str(error)
                continue
            if turn:  # the first turn fills the file cache
                seconds[name].append(elapsed)
    medians = {name: statistics.median(values) for name, values in seconds.items() if values}
    return {"median_s": medians, "failures": failures}


def start_up_table(result: dict[str, Any]) -> str:
    lines = ["Start-up, median of 5", "", "| | seconds | ratio to bare Python |", "|---|---:|---:|"]
    base = next(iter(result["median_s"].values()))
    lines += [f"| {name} | {value:.2f} | {value / base:.2f} |" for name, value in result["median_s"].items()]
    lines += [f"\nNot measured: {name}: {why}" for name, why in result["failures"].items()]
    return "\n".join(lines)


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak memory of `predict` on long stereo files at 48 kHz, of one minute and of `--minutes`."""
    peaks: dict[str, float] = {}
    _, peaks["bare Python that imports numpy and onnxruntime"] = run_timed(
        [sys.executable, "-c", "import numpy, onnxruntime"]
    )
    failures: dict[str, str] = {}
    for minutes in dict.fromkeys((1, arguments.minutes)):
        source, target = folder / f"{minutes}min.wav", folder / f"{minutes}min_out.wav"
        with sf.SoundFile(source, "w", 48_000, 2, subtype="PCM_16") as file:
            for second in range(60 * minutes):
                file.write(np.stack([make_signal(1.0, 48_000, second)] * 2, axis=1))
        name = f"`audenoise predict`, {minutes} min, 48 kHz stereo"
        try:
            _, peaks[name] = run_timed(predict_command(source, target, arguments.model))
        except RuntimeError as error:
            failures[name] = str(error)
        source.unlink()
        target.unlink(missing_ok=True)
    return {"peak_mb": peaks, "failures": failures}


def memory_table(result: dict[str, Any]) -> str:
    lines = ["Peak resident memory", "", "| | MB | ratio to bare Python |", "|---|---:|---:|"]
    base = next(iter(result["peak_mb"].values()))
    lines += [f"| {name} | {value:.0f} | {value / base:.2f} |" for name, value in result["peak_mb"].items()]
    lines += [f"\nNot measured: {name}: {why}" for name, why in result["failures"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", help="published model (default: the standard one)")
    parser.add_argument("--enhancer", metavar="FOLDER", help="enhancer (default: the bundled one)")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help=", ".join(SYSTEMS))
    parser.add_argument("--parts", default=",".join(PARTS), help=f"which of {', '.join(PARTS)}")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of audio for the throughput")
    parser.add_argument("--minutes", type=int, default=10, help="length of the file for the memory")
    parser.add_argument("--turns", type=int, default=3, help="turns of the throughput; the best counts")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="what to measure throughput by; processor time, on one core, where others keep the machine busy",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--measure", choices=[*SYSTEMS, "peak", "profile"], help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, default=16_000, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured = measure(
            arguments.measure,
            arguments.rate,
            arguments.duration,
            model=arguments.model,
            enhancer=arguments.enhancer,
        )
        print(json.dumps(measured))
        return 0
    systems, parts = arguments.systems.split(","), arguments.parts.split(",")
    unknown = [*(set(systems) - set(SYSTEMS)), *(set(parts) - set(PARTS))]
    if unknown:
        parser.error(f"unknown system or part: {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {}
    tables = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "throughput" in parts:
            results["throughput"] = throughput(arguments)
            tables.append(throughput_table(results["throughput"], systems))
        if "efficiency" in parts:
            results["efficiency"] = efficiency(arguments)
            tables.append(efficiency_table(results["efficiency"]))
        if "start" in parts:
            results["start"] = start_up(arguments, folder)
            tables.append(start_up_table(results["start"]))
        if "memory" in parts:
            results["memory"] = memory(arguments, folder)
            tables.append(memory_table(results["memory"]))
    text = "\n\n".join(tables) + "\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
