"""Runs commands in forked processes, strikes them with signals at random moments, and looks at what is left.

A program for tests: `python kill_commands.py FOLDER ROUNDS SEED [pictures]` prints what happened as JSON.
"""

import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import requests
import soundfile
from fake_sounddevice import FakeSoundDevice
from model_folders import gain_enhancer, gain_model
from recordings import hiss, voice

from audenoise.cli import main
from audenoise.interrupts import signals_held

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130, -2)}
"""What a process that was struck may end with; below zero in its first moments, before it listens."""
MINE = b"what was here before"
# What nothing is removed of: named in ROBUSTNESS.md.
LEFT = (".part",)
Tree = dict[str, bytes]


def started(work: Callable[[], int], log: Path) -> int:
    """Fork a process for some work, with what it says in a file."""
    # What comes between the fork and the work is for the work.
    with signals_held(*SIGNALS[1:]):
        process = os.fork()
        if not process:
            _child(work, log)
    return process


def _child(work: Callable[[], int], log: Path) -> NoReturn:
    code = 1
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS[1:])
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(process: int) -> int:
    """Wait for a process. Its exit code, or less than zero what signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def tree(folder: Path) -> Tree:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_left(name: str) -> bool:
    return Path(name).name.startswith(".") and name.endswith(LEFT)


class Struck:
    """A command that writes files into a folder, struck again and again and then let through."""

    def __init__(self, name: str, arguments: Callable[[Path], list[str]], folder: Path) -> None:
        self.name, self.folder, self.log = name, folder, folder / f"{name}.log"
        self._arguments = arguments
        self.whole = folder / name / "whole"
        self.out = folder / name / "out"
        for each in (self.whole, self.out):
            each.mkdir(parents=True)

    def work(self, out: Path) -> Callable[[], int]:
        return lambda: main([self.name.partition("-")[0], *self._arguments(out), "--overwrite"])

    def run(self, rounds: int, rng: random.Random) -> dict[str, Any]:
        began = time.monotonic()
        if code := ended(started(self.work(self.whole), self.log)):
            raise SystemExit(f"{self.name}: {code}: {self.log.read_text()}")
        length, expected = time.monotonic() - began, tree(self.whole)
        sources = tree(self.folder / "sources")
        # Every other result is there already, as something of the user's.
        before = dict.fromkeys(list(expected)[::2], MINE)
        for name, content in before.items():
            (self.out / name).parent.mkdir(parents=True, exist_ok=True)
            (self.out / name).write_bytes(content)
        codes = []
        for number in range(rounds):
            sign = SIGNALS[number % len(SIGNALS)]
            process = started(self.work(self.out), self.log)
            time.sleep(rng.uniform(0, 1) * length)
            os.kill(process, sign)
            codes.append(code := ended(process))
            if code not in (0, *CODES[sign]):
                raise SystemExit(f"{self.name}: {sign.name}: {code}: {self.log.read_text()}")
            self.look(before, expected, may_be_left=signal.SIGKILL in SIGNALS[: number + 1])
        if tree(self.folder / "sources") != sources:
            raise SystemExit(f"{self.name}: a source was changed")
        left = [name for name in tree(self.out) if is_left(name)]
        for name in left:
            os.utime(self.out / name, (0, 0))
        if code := ended(started(self.work(self.out), self.log)):
            raise SystemExit(f"{self.name}: again: {code}: {self.log.read_text()}")
        now = tree(self.out)
        if {name: content for name, content in now.items() if not is_left(name)} != expected:
            raise SystemExit(f"{self.name}: again: {sorted(now)} and not {sorted(expected)}, or other bytes")
        if "Traceback" in self.log.read_text():
            raise SystemExit(f"{self.name}: {self.log.read_text()}")
        return {
            "seconds": length,
            "struck": sum(code != 0 for code in codes),
            "left": len(left),
            "left_after": sum(map(is_left, now)),
        }

    def look(self, before: Tree, expected: Tree, *, may_be_left: bool) -> None:
        """Every file is whole, or is what was there before, or is hidden."""
        now = tree(self.out)
        for name, content in now.items():
            if content not in (before.get(name), expected.get(name)) and not (may_be_left and is_left(name)):
                raise SystemExit(f"{self.name}: {name} is half-written, or should not be there")
        if lost := before.keys() - now.keys():
            raise SystemExit(f"{self.name}: lost {lost}")


def strike_live(folder: Path, rounds: int, rng: random.Random) -> dict[str, Any]:
    """What was heard until then can be opened, under the name that was asked for unless it was SIGKILL."""
    card = FakeSoundDevice(pace_s=0.002)
    sys.modules["sounddevice"] = card  # pyright: ignore[reportArgumentType]
    rescued = 0
    for number in range(rounds):
        sign, out = SIGNALS[number % len(SIGNALS)], folder / "live" / str(number)
        log = folder / f"live-{number}.log"
        out.mkdir(parents=True)
        target = out / "talk.wav"
        target.write_bytes(MINE)
        command = ["live", "--model", str(folder / "half"), "--record", str(target), "--overwrite"]
        process = started(lambda command=command: main(command), log)
        while not (unfinished := list(out.glob("talk.unfinished-*.wav"))):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.4))
        os.kill(process, sign)
        code = ended(process)
        nothing = code == 1 and "no samples were written, so no file was made" in log.read_text()
        if code not in (0, *CODES[sign]) and not nothing:
            raise SystemExit(f"live: {sign.name}: {code}: {log.read_text()}")
        names = {path.name for path in out.iterdir()}
        killed = sign == signal.SIGKILL
        if names != ({"talk.wav", unfinished[0].name} if killed else {"talk.wav"}):
            raise SystemExit(f"live: {sign.name} leaves {names}")
        if killed and target.read_bytes() != MINE:
            raise SystemExit("live: what was there before is lost")
        if killed and unfinished[0].stat().st_size < 44:
            continue  # before the header
        if not killed and target.read_bytes() == MINE:
            continue  # before anything was heard
        heard = soundfile.read(unfinished[0] if killed else target)[0]
        rescued += len(heard) > 0 and bool(np.isfinite(heard).all())
    return {"struck": rounds, "rescued": rescued}


def strike_app(folder: Path, rounds: int, rng: random.Random) -> dict[str, Any]:
    """The folder of a killed server goes with the next one's start; the others' go at once."""
    import audenoise.app.routes  # noqa: F401

    temporary = folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    command = ["app", "--port", "0", "--model", str(folder / "half"), "--enhancer", str(folder / "louder")]
    content = (folder / "sources/noisy/1.wav").read_bytes()
    found = []
    for number in range(rounds + 1):
        sign = SIGNALS[number % len(SIGNALS)]
        last = number == rounds
        log = folder / f"app-{number}.log"
        for old in temporary.iterdir():
            os.utime(old, (0, 0))
        found.append(len(list(temporary.iterdir())))
        process = started(lambda: main(command), log)
        while "http://" not in (log.read_text() if log.exists() else ""):
            time.sleep(0.01)
        if len(left := list(temporary.iterdir())) != 1:
            raise SystemExit(f"app: {left}")
        address = next(word for word in log.read_text().split() if word.startswith("http://"))
        query = f"{address}/api/jobs?name=a.wav&enhance={number % 2}"
        answer = requests.post(query, data=content, headers={"X-Audenoise": "1"}, timeout=20)
        if answer.status_code != 201:
            raise SystemExit(f"app: {answer.text}")
        if not last:
            time.sleep(rng.uniform(0, 0.5))
        os.kill(process, signal.SIGTERM if last else sign)
        code = ended(process)
        if code not in (0, *CODES[signal.SIGTERM if last else sign]):
            raise SystemExit(f"app: {sign.name}: {code}: {log.read_text()}")
        if "Traceback" in log.read_text():
            raise SystemExit(log.read_text())
        if (last or sign != signal.SIGKILL) and list(temporary.iterdir()):
            raise SystemExit(f"app: {sign.name} leaves {list(temporary.iterdir())}")
    return {"struck": rounds, "left": sum(found), "left_after": len(list(temporary.iterdir()))}


def commands(folder: Path, *, pictures: bool) -> list[Struck]:
    sources = folder / "sources"
    for condition, scale in (("clean", 0.0), ("noisy", 0.2)):
        (sources / condition).mkdir(parents=True)
        for i in range(3):
            audio = voice(2.0, 16000, seed=i) + scale * hiss(2.0, 16000, seed=9 + i)
            soundfile.write(sources / condition / f"{i}.wav", audio, 16000)
    noisy, clean = str(sources / "noisy"), str(sources / "clean")
    half, louder = (str(folder / name) for name in ("half", "louder"))
    gain_model(folder / "half", 0.5)
    gain_enhancer(folder / "louder", 1.5)
    scored = ["--metrics", "si_sdr_db", "--jobs", "1"]

    none = [] if pictures else ["--files", "0"]
    alone = ["--systems", "none"]
    plot = ["--plot"] if pictures else []

    def evaluated(out: Path) -> list[str]:
        files = [f"--{kind}={out / kind}" for kind in ("json", "csv", "markdown")]
        plots = ["--plots", str(out / "plots")] if pictures else []
        return [noisy, clean, "--model", half, *alone, *scored, *files, *plots, "--quiet"]

    return [
        Struck("predict", lambda out: [noisy, "-o", str(out), "--model", half, *plot], folder),
        Struck("enhance", lambda out: [noisy, "-o", str(out), "--model", louder, "--denoiser", half], folder),
        Struck("listen", lambda out: [noisy, clean, "--kind", "abx", "-o", str(out / "test.html")], folder),
        Struck(
            "report", lambda out: [half, noisy, clean, *scored, *none, "-o", str(out / "page.html")], folder
        ),
        Struck("evaluate", evaluated, folder),
    ]


def strike(folder: Path, rounds: int, seed: int, *, pictures: bool) -> dict[str, Any]:
    # So that a fork has little to load.
    import audenoise.enhancer_batch
    import audenoise.evaluation.pictures
    import audenoise.listening.pages as pages
    import audenoise.live
    import audenoise.reports  # noqa: F401

    # Every listening test has a key of its own; here they must be equal, byte for byte.
    pages.secrets = SimpleNamespace(token_hex=lambda n: "0" * 2 * n)  # pyright: ignore[reportAttributeAccessIssue]
    rng = random.Random(seed)
    results = {each.name: each.run(rounds, rng) for each in commands(folder, pictures=pictures)}
    results["live"] = strike_live(folder, rounds, rng)
    if all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn")):
        results["app"] = strike_app(folder, rounds, rng)
    return results


if __name__ == "__main__":
    folder, rounds, seed, *more = sys.argv[1:]
    print(json.dumps(strike(Path(folder), int(rounds), int(seed), pictures=more == ["pictures"])))
