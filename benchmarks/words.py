"""The words that a recogniser hears: pocketsphinx, which brings an English model, or any command."""

import importlib.util
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.audio import resample, write_audio
from audenoise.errors import AudenoiseError

RATE = 16000
Recogniser = Callable[[np.ndarray, int], list[str]]


@lru_cache(maxsize=1)
def _decoder() -> Any:
    pocketsphinx = importlib.import_module("pocketsphinx")
    return pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")


def _with_pocketsphinx(audio: np.ndarray, rate: int) -> list[str]:
    decoder = _decoder()
    samples = np.clip(resample(audio, rate, RATE), -1, 1)
    decoder.start_utt()
    decoder.process_raw((samples * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp()
    return [] if heard is None else heard.hypstr.split()


def _with_command(command: str, audio: np.ndarray, rate: int) -> list[str]:
    """A command that is given a WAV file in place of {} and prints words."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        write_audio(file, np.clip(resample(audio, rate, RATE), -1, 1), RATE)
        parts = [str(file) if part == "{}" else part for part in shlex.split(command)]
        try:
            done = subprocess.run(parts, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or str(error)
            raise AudenoiseError(
                f"--words {command}: failed ({reason.strip().splitlines()[-1][:200]})"
            ) from None
    return done.stdout.lower().split()


def recogniser_of(choice: str) -> Recogniser | None:
    """What `--words` names: ``auto`` (pocketsphinx if it is installed), ``none``, or a command with {}.

    Raises
    ------
    AudenoiseError
        If a command has no {}.
    """
    if choice == "none":
        return None
    if choice in ("auto", "pocketsphinx"):
        if importlib.util.find_spec("pocketsphinx"):
            return _with_pocketsphinx
        if choice == "auto":
            return None
        raise AudenoiseError("--words pocketsphinx: is not installed (pip install pocketsphinx)")
    if "{}" not in shlex.split(choice):
        raise AudenoiseError(f"--words {choice}: needs {{}} where the WAV file goes")
    return partial(_with_command, choice)


def word_errors(wanted: list[str], heard: list[str]) -> int:
    """Least number of words to change, leave out and put in.

    Examples
    --------
    >>> word_errors("a b c".split(), "a x c d".split())
    2
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
