"""Coverage-guided fuzzing of what reads files of others: recordings, specs and metadata of models.

    pip install atheris
    python tests/fuzz/fuzz_inputs.py recordings|specs|metadata [-max_total_time=300]

Only an `AudenoiseError` of one printable line may come out. A find is written to the current folder as
crash-…, and should become a case in `tests/test_fuzz.py`. atheris has no wheels for all versions of Python,
so this is no part of the test suite.
"""

import importlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

atheris = importlib.import_module("atheris")
with atheris.instrument_imports(include=["audenoise", "yaml", "json"]):
    from audenoise.audio import AudioReader
    from audenoise.errors import AudenoiseError
    from audenoise.presets import load_preset
    from audenoise.specs import load_spec

FOLDER = Path(tempfile.mkdtemp(prefix="audenoise-fuzz-"))
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".caf")
SPEC = b"""name: tiny
encoder: [{filters: 4, kernel: [1, 5], stride: [1, 2]}]
bottleneck: {kind: recurrent, bands: 4, channels: 4}
"""
METADATA = b"""{"format_version": 1, "name": "a", "description": "", "licence": "MIT", "sample_rate": 16000,
"stft": {"n_fft": 512, "hop_length": 256, "win_length": 512, "window": "hann"},
"context_frames": {"left": 0, "right": 0}, "files": {"model.onnx": "00"}}"""


def read_recording(data: bytes) -> None:
    path = FOLDER / f"a{SUFFIXES[data[0] % len(SUFFIXES)] if data else '.wav'}"
    path.write_bytes(data[1:])
    with AudioReader(path) as reader:
        read = sum(len(block) for block in reader.blocks(8192))
        if read != reader.info.n_samples:
            raise RuntimeError(f"{read} samples of {reader.info.n_samples}")


def read_spec(data: bytes) -> None:
    path = FOLDER / ("a.json" if data[:1] == b"{" else "a.yaml")
    path.write_bytes(data)
    load_spec(path)


def read_metadata(data: bytes) -> None:
    (FOLDER / "metadata.json").write_bytes(data)
    load_preset(FOLDER).verify()


def recordings() -> list[bytes]:
    import numpy as np
    import soundfile as sf

    audio, made = np.random.default_rng(1).normal(size=(600, 1)) * 0.1, []
    for i, (container, subtype) in enumerate(
        [("WAV", "PCM_16"), ("FLAC", None), ("OGG", None), ("MP3", None), ("AIFF", None), ("CAF", None)]
    ):
        file = io.BytesIO()
        sf.write(file, audio, 16000, format=container, subtype=subtype)
        made.append(bytes([i]) + file.getvalue())
    return made


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "recordings": (read_recording, recordings),
    "specs": (read_spec, lambda: [SPEC]),
    "metadata": (read_metadata, lambda: [METADATA]),
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz_inputs.py {'|'.join(TARGETS)} [libFuzzer's options]")
    read, seeds = TARGETS[sys.argv.pop(1)]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds()):
        (corpus / str(i)).write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            read(data)
        except AudenoiseError as error:
            if not str(error).isprintable() or len(str(error)) > 1000:
                raise RuntimeError("not a line") from error

    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
