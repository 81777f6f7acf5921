"""Files that are damaged or made to harm: one line that a person can act on, in bounded time and memory.

Whatever the bytes, only an `AudenoiseError` may come out, or a success that holds what it says. The seeds are
fixed, so that a run repeats; longer searches are in `fuzz/` and in ROBUSTNESS.md. What could take
much time or memory runs in a process that has little of either.
"""

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_folders
import numpy as np
import pytest
import soundfile as sf
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audenoise.audio import AudioReader
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, AudioFileError, ModelError, SpecError, one_line
from audenoise.presets import load_preset
from audenoise.specs import MAX_SPEC_BYTES, dump_spec, load_spec, parse_spec
from audenoise.specs.enhancer import dump_enhancer_spec, load_enhancer_spec, parse_enhancer_spec

LONGEST_LINE = 700
fuzzed = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def checked_line(error: AudenoiseError, source: object = None) -> str:
    text = str(error)
    assert text.isprintable()
    assert 0 < len(text) < LONGEST_LINE
    assert source is None or text.startswith(f"{source}: ")
    return text


def edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    """Apply edits at places given as a share of the length."""
    data = bytearray(content)
    for kind, share, new in edits:
        i = int(share * len(data))
        if kind == "put":
            data[i : i + len(new)] = new
        elif kind == "insert":
            data[i:i] = new
        elif kind == "delete":
            del data[i : i + 4 * len(new)]
        else:
            del data[i:]
    return bytes(data)


NUMBERS = [
    number.to_bytes(size, order)
    for size in (2, 4, 8)
    for number in (0, 1, 256**size - 1, 256**size // 2 - 1, 256**size // 2, 256**size // 16)
    for order in ("little", "big")
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "insert", "delete", "cut"]),
        # Headers lie in front, and there most can go wrong.
        st.floats(0, 0.02) | st.floats(0, 1, exclude_max=True),
        st.sampled_from(NUMBERS) | st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)

RECORDINGS = {
    "pcm.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "gsm.wav": ("WAV", "GSM610"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.w64": ("W64", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "PCM_16"),
}


def recording(name: str) -> bytes:
    container, subtype = RECORDINGS[name]
    channels = 1 if subtype == "GSM610" else 2
    audio = np.random.default_rng(3).normal(size=(3000, channels)) * 0.1
    file = io.BytesIO()
    sf.write(file, audio, 16000, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("name", RECORDINGS)
def test_damaged_recordings_are_read_whole_or_refused(name: str, tmp_path: Path) -> None:
    content, path = recording(name), tmp_path / name

    @settings(fuzzed, max_examples=40)
    @given(edits=EDITS, start=st.floats(0, 1, exclude_max=True))
    def check(edits: list[tuple[str, float, bytes]], start: float) -> None:
        path.write_bytes(edited(content, edits))
        try:
            with AudioReader(path) as reader:
                n_samples = reader.info.n_samples
                first = int(start * n_samples)
                lengths = [len(block) for block in reader.blocks(8192, start=first)]
                assert sum(lengths) == n_samples - first
                assert sum(len(block) for block in reader.blocks(8192)) == n_samples
        except AudioFileError as error:
            checked_line(error, path)

    path.write_bytes(content)
    with AudioReader(path) as reader:
        assert sum(len(block) for block in reader.blocks(8192)) >= 3000
    check()


def test_a_recording_that_cannot_be_sought_is_read_from_any_place(tmp_path: Path) -> None:
    """GSM 6.10, as answering machines write it."""
    path, audio = tmp_path / "gsm.wav", np.random.default_rng(5).normal(size=9000) * 0.1
    sf.write(path, audio, 8000, subtype="GSM610")
    with AudioReader(path) as reader:
        whole = np.concatenate(list(reader.blocks(1000)))
        for start in (0, 4000, 4500, 7, 8000, 0):
            part = np.concatenate(list(reader.blocks(300, start=start, n_samples=900)))
            np.testing.assert_array_equal(part, whole[start : start + 900])


def riff(rate: int, channels: int, size: int, *, bits: int = 16, tag: int = 1) -> bytes:
    frame = channels * bits // 8
    return (
        b"RIFF"
        + struct.pack("<I", min(size, 2**32 - 1))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, tag, channels % 2**16, rate, rate * frame % 2**32, frame % 2**16, bits)
        + b"data"
        + struct.pack("<I", min(size, 2**32 - 1))
        + bytes(6400)
    )


def flac(rate: int, channels: int, samples: int) -> bytes:
    packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | samples
    return (
        b"fLaC\x80\x00\x00\x22"
        + struct.pack(">HH", 4096, 4096)
        + bytes(6)
        + packed.to_bytes(8, "big")
        + bytes(200)
    )


HOSTILE_AUDIO: dict[str, bytes] = {
    "terabytes.w64": recording("a.w64")[:16] + struct.pack("<Q", 2**42) + recording("a.w64")[24:],
    "gigabytes.wav": riff(16000, 1, 3 * 10**9),
    "years.flac": flac(48000, 2, 2**36 - 1),
    "0hz.wav": riff(0, 1, 6400),
    "1hz.wav": riff(1, 1, 6400),
    "4ghz.wav": riff(2**32 - 1, 1, 6400),
    "0hz.flac": flac(0, 1, 4096),
    "0channels.wav": riff(16000, 0, 6400),
    "65535channels.wav": riff(16000, 65535, 6400),
    "1000000channels.au": struct.pack(">4sIIIII", b".snd", 24, 6400, 3, 16000, 10**6) + bytes(6400),
    "1000000channels.caf": b"caff\x00\x01\x00\x00desc"
    + struct.pack(">Qd4sIIIII", 32, 16000.0, b"lpcm", 0, 2 * 10**6, 1, 10**6, 16)
    + b"data"
    + struct.pack(">Q", 2**62)
    + bytes(6400),
    "nanhz.caf": b"caff\x00\x01\x00\x00desc"
    + struct.pack(">Qd4sIIIII", 32, float("nan"), b"lpcm", 0, 2, 1, 1, 16)
    + b"data"
    + struct.pack(">Q", 6404)
    + bytes(6404),
    "0bits.wav": riff(16000, 1, 6400, bits=0),
    "nan.wav": riff(16000, 1, 6400, bits=32, tag=3)[:44] + struct.pack("<f", float("nan")) * 1600,
    "inf.wav": riff(16000, 1, 6400, bits=64, tag=3)[:44] + struct.pack("<d", float("inf")) * 800,
    "huge.wav": riff(16000, 1, 6400, bits=64, tag=3)[:44] + struct.pack("<d", 1e300) * 800,
    "id3.mp3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(200),
}

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
{imports}
# What the imports took is theirs.
if sys.platform == "linux":
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ({mebibytes} << 20),) * 2)
from audenoise.errors import AudenoiseError
for path in sys.argv[1:]:
    try:
        {call}
        print("accepted", flush=True)
    except AudenoiseError as error:
        print(error, flush=True)
"""


def in_little_memory(
    paths: list[Path], *, imports: str, call: str, seconds: int, mebibytes: int
) -> list[str]:
    """Return a line for each file, from a process with so much processor time and memory for all of them."""
    code = LIMITED.format(imports=imports, call=call, seconds=seconds, mebibytes=mebibytes)
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()


posix = pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")


@posix
def test_headers_that_claim_the_impossible(tmp_path: Path) -> None:
    paths = []
    for name, content in HOSTILE_AUDIO.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    lines = in_little_memory(
        paths,
        imports="from audenoise.audio import read_audio",
        call="read_audio(path)",
        seconds=10,
        mebibytes=600,
    )
    for path, line in zip(paths, lines, strict=True):
        # An MP3's tag may be of any size, and 1e300 is infinite in float32.
        assert line.startswith(f"{path}: "), line
        assert len(line) < LONGEST_LINE


def test_a_name_with_a_line_break_gives_one_line(tmp_path: Path) -> None:
    name = "a\nb\x1b[31m\udcff.wav"
    with pytest.raises(AudioFileError, match="no such file") as caught:
        AudioReader(tmp_path / name).__enter__()
    checked_line(caught.value)
    for error in (SpecError(name), ModelError(f"{name}: no"), AudenoiseError(name)):
        assert str(error).startswith("a\\nb\\x1b[31m\\udcff.wav")
    assert one_line("Grüße, 音.wav") == "Grüße, 音.wav"


SPEC: dict[str, Any] = {
    "name": "tiny",
    "stft": {"n_fft": 64, "hop_length": 32},
    "input": {"representation": "complex", "compression": 0.5},
    "encoder": [{"filters": 4, "kernel": [1, 5], "stride": [1, 2], "norm": "batch"}],
    "bottleneck": {"kind": "recurrent", "bands": 4, "channels": 4, "blocks": 1, "across_bands": "gru"},
    "output": {"kind": "complex_mask", "kernel": [1, 1]},
    "mixing": {"snr_db": [-5, 20]},
    "training": {"epochs": 1, "crop_s": 0.5},
}
ENHANCER: dict[str, Any] = yaml.safe_load(dump_enhancer_spec(parse_enhancer_spec({})))
OLD: dict[str, Any] = {
    "downsampling": {
        "downsampling_1": {
            "conv1": {"filters": 4, "kernel_size": 3},
            "conv2": {"filters": 4, "kernel_size": 3},
        }
    },
    "valley": {"conv1": {"filters": 4, "kernel_size": 3}, "conv2": {"filters": 4, "kernel_size": 3}},
    "upsampling": {"upsampling_1": {"convt": {"filters": 4, "kernel_size": 3}}},
}


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index of nested dictionaries and lists."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [each for key, value in pairs for each in [(*path, key), *places(value, (*path, key))]]


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = data.copy()
    known = isinstance(copy, list) or path[0] in copy
    copy[path[0]] = changed(data[path[0]], path[1:], value) if known else value
    return copy


KEYS = st.text(max_size=5) | st.sampled_from(["kind", "filters", "encoder", "a\nb", "\x1b[2J", "k" * 2000])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, 10**400, 1e308, 1e-320, "", "1", "NaN", "\x00"])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("base", "load", "dump"),
    [
        (SPEC, load_spec, dump_spec),
        (OLD, load_spec, dump_spec),
        (ENHANCER, load_enhancer_spec, dump_enhancer_spec),
    ],
    ids=["network", "old", "enhancer"],
)
def test_specs_with_anything_anywhere(
    base: dict[str, Any], load: Callable[[Path], Any], dump: Callable[[Any], str], tmp_path: Path
) -> None:
    @settings(fuzzed, max_examples=60 if base is ENHANCER else 120)
    @given(place=st.sampled_from(places(base)), value=VALUES, extra=st.none() | KEYS, as_json=st.booleans())
    def check(place: tuple[Any, ...], value: Any, extra: str | None, as_json: bool) -> None:
        data = changed(base, place, value)
        if extra is not None:
            data = {**data, extra: value}
        path = tmp_path / ("spec.json" if as_json else "spec.yaml")
        text = json.dumps(data) if as_json else yaml.safe_dump(data)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            spec = load(path)
        except SpecError as error:
            checked_line(error, path)
        else:
            again = tmp_path / "again.yaml"
            again.write_text(dump(spec), encoding="utf-8")
            assert load(again) == spec

    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(base), encoding="utf-8")
    load(plain)
    check()


@settings(fuzzed, max_examples=100)
@given(edits=EDITS, base=st.sampled_from([SPEC, OLD]))
def test_damaged_text_of_specs(edits: list[tuple[str, float, bytes]], base: Any, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(edited(yaml.safe_dump(base).encode(), edits))
    try:
        load_spec(path)
    except SpecError as error:
        checked_line(error)


def filled(start: str, repeated: str, end: str = "") -> str:
    """As long as a spec may be."""
    return start + repeated * ((MAX_SPEC_BYTES - len(start) - len(end)) // len(repeated)) + end


@posix
def test_texts_made_to_take_time_or_memory(tmp_path: Path) -> None:
    small = "encoder: [{filters: 4}]\nbottleneck: {kind: recurrent}\n"
    texts = {
        "base-60.yaml": filled(f"{small}sample_rate: 1", ":59"),
        "digits.yaml": filled(f"{small}sample_rate: 0x", "f"),
        "seed.yaml": filled(f"{small}training: {{seed: 0b1", "0", "}"),
        "lists.yaml": filled("", "["),
        "list.yaml": filled("encoder: [", "1,", "1]"),
        "stages.json": filled('{"encoder":[', "1,", "1]}"),
        "keys.yaml": "".join(f"k{i}: 1\n" for i in range(4000)),
        "dashes.yaml": filled("", "- "),
        "quoted.yaml": filled('"', "a\n"),
        "deep.json": filled("", '{"a":'),
        "key.yaml": filled("? ", "k", "\n: 1\n"),
        "too-long.yaml": filled("", "#") + "##",
        "too-long.json": "[" + " " * MAX_SPEC_BYTES + "]",
    }
    paths = [tmp_path / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    paths.append(Path("/dev/zero"))
    lines = in_little_memory(
        paths,
        imports="from audenoise.specs import load_spec",
        call="load_spec(path)",
        seconds=20,
        mebibytes=300,
    )
    for path, line in zip(paths, lines, strict=True):
        assert line.startswith(f"{path}: "), line
        assert len(line) < LONGEST_LINE
    assert lines[-1].endswith("so it is no spec")


ONE = {"kind": "dilated", "channels": 1, "kernel": [1, 1], "dilations": [1]}
WIDE = {"filters": 4096, "kernel": [1, 1]}
HUGE_NETWORKS: dict[str, dict[str, Any]] = {
    "encoder[0]": {"encoder": [{"filters": 4096, "kernel": [9, 9], "convolutions": 2}], "bottleneck": ONE},
    "decoder[0], up": {
        "encoder": [{**WIDE, "kernel": [1, 2], "stride": [1, 2]}],
        "bottleneck": ONE,
        "decoder": [{**WIDE, "convolutions": 0, "up_kernel": [1, 4096]}],
        "output": {"stages": [WIDE]},
    },
    "encoder[0], pool": {
        "stft": {"n_fft": 16384, "hop_length": 4096},
        "encoder": [{**WIDE, "pool": [1, 4096]}],
        "bottleneck": ONE,
    },
    "decoder[0], skip": {
        "encoder": [WIDE],
        "bottleneck": ONE,
        "decoder": [{**WIDE, "kernel": [1, 16]}],
        "skip": {"kind": "concatenate"},
    },
    "bottleneck": {
        "encoder": [{"filters": 4}],
        "bottleneck": {"kind": "recurrent", "bands": 4096, "channels": 4096, "heads": 64, "blocks": 32},
    },
    "bottleneck, dilated": {
        "encoder": [{"filters": 4}],
        "bottleneck": {"kind": "dilated", "channels": 4096, "kernel": [4096, 4096], "dilations": [1] * 64},
    },
    "all": {"encoder": [{**WIDE, "kernel": [1, 4], "convolutions": 6}] * 16, "bottleneck": ONE},
    "output.kernel": {"encoder": [WIDE], "bottleneck": ONE, "output": {"kernel": [4096, 4096]}},
}


@pytest.mark.parametrize("name", HUGE_NETWORKS)
def test_networks_too_large_for_any_machine_are_refused_before_building(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audenoise.architectures import summary

    def never(_spec: object) -> None:
        raise MemoryError("it was built")

    monkeypatch.setattr(summary, "build_network", never)
    with pytest.raises(SpecError, match="million parameters; reduce its sizes") as caught:
        summary.build_checked(parse_spec(HUGE_NETWORKS[name]))
    if name != "all":
        assert name.split(",")[0] in checked_line(caught.value)


@pytest.fixture(scope="module")
def gain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "gain"
    model_folders.gain_model(folder)
    return folder


def test_metadata_with_anything_anywhere(gain_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gain_folder, folder)
    path = folder / "metadata.json"
    whole = path.read_bytes()
    base = json.loads(whole)
    before = sorted(tmp_path.rglob("*"))

    @settings(fuzzed, max_examples=120)
    @given(place=st.sampled_from(places(base)), value=VALUES, edits=st.none() | EDITS)
    def check(place: tuple[Any, ...], value: Any, edits: list[tuple[str, float, bytes]] | None) -> None:
        if edits is None:
            path.write_bytes(json.dumps(changed(base, place, value)).encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(edited(whole, edits))
        try:
            preset = load_preset(folder)
            preset.verify()
            denoiser = Denoiser.from_preset(folder, threads=1)
            assert denoiser.denoise(np.zeros(3000, np.float32), 16000).shape == (3000,)
        except ModelError as error:
            checked_line(error, folder)
        assert sorted(tmp_path.rglob("*")) == before

    check()


def test_damaged_graphs_with_a_right_checksum(gain_folder: Path, tmp_path: Path) -> None:
    """Whoever changes the graph can also change its checksum."""
    folder = tmp_path / "model"
    shutil.copytree(gain_folder, folder)
    graph, metadata = folder / "model.onnx", json.loads((folder / "metadata.json").read_text("utf-8"))
    whole, noise = graph.read_bytes(), np.random.default_rng(0).normal(size=3000).astype(np.float32)

    @settings(fuzzed, max_examples=150)
    @given(edits=EDITS)
    def check(edits: list[tuple[str, float, bytes]]) -> None:
        content = edited(whole, edits)
        graph.write_bytes(content)
        metadata["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
        (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        try:
            denoised = Denoiser.from_preset(folder, threads=1).denoise(noise, 16000)
            assert denoised.shape == noise.shape
        except AudenoiseError as error:
            checked_line(error, folder)

    check()
    # An axis whose name is no text: onnxruntime raises only when the shape is asked for.
    graph.write_bytes(whole.replace(b"frames", b"fr\xffmes"))
    metadata["files"]["model.onnx"] = hashlib.sha256(graph.read_bytes()).hexdigest()
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ModelError, match="not text"):
        Denoiser.from_preset(folder, threads=1)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_in_model_folders(gain_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gain_folder, folder)
    secret = tmp_path / "secret.json"
    (folder / "metadata.json").rename(secret)
    for target in (secret, Path("metadata.json"), Path("/dev/zero"), Path("../model/metadata.json")):
        (folder / "metadata.json").symlink_to(target)
        with pytest.raises(ModelError) as caught:
            load_preset(folder)
        checked_line(caught.value, folder)
        (folder / "metadata.json").unlink()
    secret.rename(folder / "metadata.json")
    alias = tmp_path / "alias"
    alias.symlink_to(folder)
    assert load_preset(alias).name == "gain"
