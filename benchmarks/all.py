#!/usr/bin/env python3
"""The whole table again: quality, speed, efficiency, start, memory, latency, conditions, restoration, plot.

    python benchmarks/all.py --pairs PAIRS --out OUT [--model standard --model small] [--skip memory]

Runs the other scripts here, one after the other, and keeps what each measured in OUT/parts/PART.json; a run
that was broken off goes on where it was, and a part is measured anew when its command or a model's graph has
changed, or with --again PART. Writes OUT/benchmarks.md and OUT/quality_cost.png: quality against the
throughput of RNNoise's Python package in the same run. Needs `pip install audenoise[benchmarks]`; rows whose
package isn't there are left out. --quick measures shortly and roughly, to try it out.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quality_cost import draw, points

from audenoise.enhancer import DEFAULT_ENHANCER
from audenoise.errors import AudenoiseError
from audenoise.presets import bundled_denoisers, list_presets, load_preset

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A script with its arguments; `flags` says whether it writes --json and --markdown itself."""

    name: str
    title: str
    command: tuple[str, ...]
    models: tuple[str, ...]
    flags: bool = True

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    def shown(self) -> str:
        return f"python benchmarks/{' '.join(self.command)}"


def parts_of(arguments: argparse.Namespace, models: list[str]) -> list[Part]:
    quick, pairs = arguments.quick, str(arguments.pairs)
    each_model = [text for model in models for text in ("--model", model)]
    denoised = [text for entry in arguments.denoised for text in ("--denoised", entry)]
    systems = "noisy,audenoise,rnnoise,rnnoise-flushed,noisereduce"
    jobs = ["--jobs", str(arguments.jobs)]
    enhancer: list[str] = [arguments.enhancer] if arguments.enhancer else []
    with_enhancer = ("--enhancer", arguments.enhancer) if enhancer else ()
    found = [
        Part(
            "quality",
            "Quality",
            ("quality.py", "--pairs", pairs, "--systems", systems, *each_model, *denoised, *jobs),
            tuple(models),
        )
    ]
    length = ("--duration", "10" if quick else "60", "--turns", "1" if quick else "3")
    clock = ("--clock", arguments.clock) if arguments.clock != "wall" else ()
    for model in models:
        speed = ("speed.py", "--model", model)
        first = model == models[0]
        found += [
            Part(
                f"speed-{model}",
                f"Speed, {model}",
                (*speed, *with_enhancer, "--parts", "throughput", *length, *clock),
                (model, *enhancer),
            ),
            Part(
                f"efficiency-{model}",
                f"Efficiency, {model}",
                (*speed, "--parts", "efficiency", *length),
                (model,),
            ),
        ]
        if first:
            minutes = ("--minutes", "1" if quick else "10")
            found += [
                Part("start", "Start-up", (*speed, "--parts", "start"), (model,)),
                Part("memory", "Memory", (*speed, "--parts", "memory", *minutes), (model,)),
            ]
        seconds = ("--seconds", "2" if quick else "10")
        found.append(
            Part(
                f"latency-{model}", f"Latency, {model}", ("latency.py", "--model", model, *seconds), (model,)
            )
        )
        step = ("--step", "30" if quick else "4")
        noises = [text for entry in arguments.noise for text in ("--noise", entry)]
        found.append(
            Part(
                f"conditions-{model}",
                f"Conditions, {model}",
                ("conditions.py", "--pairs", pairs, "--model", model, *step, *noises, *jobs),
                (model,),
            )
        )
        if arguments.full_band:
            clean, noise = arguments.full_band
            found.append(
                Part(
                    f"fullband-{model}",
                    f"Full band, {model}",
                    ("full_band.py", "--clean", str(clean), "--noise", str(noise), "--model", model),
                    (model,),
                    flags=False,
                )
            )
    if enhancer and arguments.speech:
        speech = [text for folder in arguments.speech for text in ("--speech", str(folder))]
        chosen = ("--model", arguments.enhancer, "--denoiser", models[0])
        files = ("--files", "1" if quick else "12")
        found.append(
            Part(
                "restoration",
                "Restoration",
                ("restoration.py", *speech, *chosen, *files, *jobs),
                (arguments.enhancer, models[0]),
            )
        )
    return found


def stamp(part: Part) -> dict[str, Any]:
    """What a measurement holds for: the command and the graphs of the models."""
    graphs = {
        model: hashlib.sha256(load_preset(model).read_file("model.onnx")).hexdigest() for model in part.models
    }
    return {"command": list(part.command), "graphs": graphs}


def measure(part: Part, python: str) -> dict[str, Any]:
    """Run the script; raises `AudenoiseError` with its last line if it fails."""
    with tempfile.TemporaryDirectory() as temporary:
        results, text = Path(temporary) / "results.json", Path(temporary) / "text.md"
        command = [python, str(HERE / part.command[0]), *part.command[1:]]
        if part.flags:
            command += ["--json", str(results), "--markdown", str(text)]
        # Progress bars and complaints go to the terminal as they come.
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise AudenoiseError(f"{part.name}: {part.shown()} ended with exit code {done.returncode}")
        return {
            "stamp": stamp(part),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "markdown": text.read_text() if part.flags else done.stdout,
            "results": json.loads(results.read_text()) if part.flags else None,
        }


def cached(path: Path, part: Part) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if content.get("stamp") == stamp(part) else None


def write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text)
    os.replace(partial, path)


def machine() -> str:
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        lines = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    from importlib.metadata import version

    packages = ", ".join(f"{package} {version(package)}" for package in ("onnxruntime", "numpy"))
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} cores, {name}; {platform.system()}, Python {platform.python_version()}, {packages}"


def report(parts: list[Part], measured: dict[str, dict[str, Any]], drawn: bool) -> str:
    sections = [
        "# Benchmarks\n\n"
        f"Made by `python benchmarks/all.py` on {machine()}. Of speeds, only the ratios within one table "
        "mean something: the rest is the machine's and what else it was doing."
    ]
    if drawn:
        sections.append("![Quality against throughput](quality_cost.png)")
    for part in parts:
        if part.name in measured:
            content = measured[part.name]
            load = content["load_average"]
            busy = "" if load is None else f" (load average at the end {load:.1f})"
            sections.append(f"## {part.title}\n\n`{part.shown()}`{busy}\n\n{content['markdown'].strip()}")
    return "\n\n".join(sections) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, made if missing")
    parser.add_argument(
        "--model", action="append", default=[], help="may be repeated (default: all bundled denoisers)"
    )
    parser.add_argument(
        "--denoised", action="append", default=[], metavar="NAME=DIR", help="as for quality.py"
    )
    parser.add_argument(
        "--noise", action="append", default=[], metavar="NAME=DIR", help="as for conditions.py"
    )
    parser.add_argument(
        "--full-band", nargs=2, type=Path, metavar=("CLEAN", "NOISE"), help="as for full_band.py"
    )
    bundled = DEFAULT_ENHANCER if DEFAULT_ENHANCER in list_presets() else None
    parser.add_argument(
        "--enhancer", default=bundled, help="its speed is measured too (default: the bundled one)"
    )
    parser.add_argument(
        "--speech",
        action="append",
        type=Path,
        default=[],
        help="undamaged, as for restoration.py; may be repeated",
    )
    parser.add_argument("--skip", default="", help="parts to leave out, e.g. memory,conditions")
    parser.add_argument("--again", default="", help="parts to measure anew, or all")
    parser.add_argument(
        "--jobs", type=int, default=2, help="processes for quality and conditions (default: 2)"
    )
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="as for speed.py")
    parser.add_argument("--quick", action="store_true", help="short and rough")
    arguments = parser.parse_args()
    skipped, again = (set(filter(None, text.split(","))) for text in (arguments.skip, arguments.again))
    models = arguments.model or bundled_denoisers()
    try:
        parts = parts_of(arguments, models)
        known = {name for part in parts for name in (part.name, part.kind)}
        if unknown := (skipped | again) - known - {"all"}:
            parser.error(f"unknown part: {', '.join(sorted(unknown))}. Parts: {', '.join(sorted(known))}")
        parts = [part for part in parts if not {part.name, part.kind} & skipped]
        folder = arguments.out / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        measured, failures = {}, []
        for part in parts:
            path = folder / f"{part.name.replace(os.sep, '_')}.json"
            content = None if {part.name, part.kind, "all"} & again else cached(path, part)
            print(f"{part.name}: {part.shown() if content is None else 'measured before'}", file=sys.stderr)
            try:
                content = content or measure(part, sys.executable)
            except AudenoiseError as error:
                failures.append(str(error))
                continue
            write(path, json.dumps(content, indent=1) + "\n")
            measured[part.name] = content
    except AudenoiseError as error:
        print(f"all.py: {error}", file=sys.stderr)
        return 1
    quality = measured.get("quality", {}).get("results")
    speeds = {model: measured[name]["results"] for model in models if (name := f"speed-{model}") in measured}
    shown = points(quality, speeds) if quality and speeds else []
    if not any(point.ratio is not None for point in shown):
        shown = []  # nothing to compare with: RNNoise isn't installed, or a part was skipped
    if shown:
        picture = arguments.out / "quality_cost.png"
        draw(shown, picture.with_name(".quality_cost.png.part"))
        os.replace(picture.with_name(".quality_cost.png.part"), picture)
    write(arguments.out / "benchmarks.md", report(parts, measured, bool(shown)))
    print(arguments.out / "benchmarks.md")
    for failure in failures:
        print(f"all.py: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
