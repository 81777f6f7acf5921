"""`audenoise predict` as a person runs it: what comes out, what is said, and what is left behind."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_folders
import numpy as np
import pytest
import soundfile as sf

from audenoise import batch, presets, processors
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.evaluation import model_system
from audenoise.file_plan import FilePair

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "audenoise"]
# What must not be loaded, looked up in the process that ran the command.
PROBE = """
import sys
from audenoise.cli import main
{before}
code = main(sys.argv[1:])
heavy = {{"tensorflow", "keras", "jax", "torch", "pydantic", "matplotlib", "scipy"}}
print(code, *sorted(heavy & set(sys.modules)))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def noise(n_samples: int, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((n_samples, channels))


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(model_folders.gain_model(tmp_path_factory.mktemp("models") / "half", 0.5).folder)


@pytest.fixture
def predict(half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `audenoise predict` in an empty folder with the model that halves everything."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        before = signal.getsignal(signal.SIGTERM)
        code = main(["predict", "--model", half, *arguments])
        assert signal.getsignal(signal.SIGTERM) == before
        return code

    return run


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "error:" in line]


def left_in(folder: Path) -> list[str]:
    """All files, the hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    ("n_samples", "channels", "rate"), [(1, 1, 16000), (100, 2, 16000), (9600, 8, 48000), (9600, 1, 96000)]
)
def test_rate_length_channels_and_sample_format_are_kept(
    predict: Callable[..., int], subtype: str, n_samples: int, channels: int, rate: int
) -> None:
    sf.write("in.wav", noise(n_samples, channels), rate, subtype=subtype)
    assert predict("in.wav", "-o", "out.wav") == 0
    before, after = sf.info("in.wav"), sf.info("out.wav")
    for key in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, key) == getattr(before, key)
    step = 1 / 64 if subtype == "PCM_U8" else 1e-4
    np.testing.assert_allclose(sf.read("out.wav")[0], 0.5 * sf.read("in.wav")[0], atol=step)


def test_the_suffix_of_the_result_chooses_its_format(predict: Callable[..., int]) -> None:
    sf.write("in.wav", noise(4000), 44100, subtype="FLOAT")
    for name, expected in (("a.flac", "FLAC"), ("b.OGG", "OGG"), ("c.mp3", "MP3"), ("d.wav", "WAV")):
        assert predict("in.wav", "-o", name) == 0
        assert (sf.info(name).format, sf.info(name).frames) == (expected, 4000)
    assert sf.info("a.flac").subtype == "PCM_24"
    assert sf.info("d.wav").subtype == "FLOAT"


def test_folders_keep_their_structure_and_one_bad_file_does_not_stop_the_rest(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in/deep/er").mkdir(parents=True)
    sf.write("in/a.wav", noise(4000), 16000)
    sf.write("in/deep/b.FLAC", noise(4000), 16000, format="FLAC")
    sf.write("in/deep/er/c.ogg", noise(4000), 16000)
    with_nan = noise(4000)
    with_nan[7] = np.nan
    sf.write("in/nan.wav", with_nan, 16000, subtype="FLOAT")
    with_nan[7] = np.inf
    sf.write("in/inf.wav", with_nan, 16000, subtype="FLOAT")
    sf.write("in/zero.wav", noise(0), 16000)
    (tmp_path / "in/empty.wav").touch()
    (tmp_path / "in/text.wav").write_text("this is no audio " * 20)
    (tmp_path / "in/cut.wav").write_bytes((tmp_path / "in/a.wav").read_bytes()[:3000])
    (tmp_path / "in/notes.txt").write_text("not looked at")
    (tmp_path / "in/deep/Memo.M4A").write_bytes(b"a phone's, which no one here can read")
    assert predict("in", "missing.wav", "in/a.wav", "-o", "out", "--suffix", "_clean") == 1
    assert left_in(tmp_path / "out") == ["a_clean.wav", "deep/b_clean.FLAC", "deep/er/c_clean.ogg"]
    lines = errors(capsys)
    memo = next(line for line in lines if "Memo.M4A: is not audio that can be read here" in line)
    lines.remove(memo)
    bad = ["cut", "empty", "inf", "nan", "text", "zero", "missing"]
    assert [line.split("error: ")[1].split(".wav")[0].split("/")[-1] for line in lines] == bad


def test_existing_results_are_kept_and_reported(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write("in.wav", noise(4000), 16000)
    (tmp_path / "out.wav").write_bytes(b"precious")
    assert predict("in.wav", "-o", "out.wav") == 1
    assert (tmp_path / "out.wav").read_bytes() == b"precious"
    assert "kept existing out.wav" in capsys.readouterr().err
    assert predict("in.wav", "-o", "out.wav", "--overwrite") == 0
    assert capsys.readouterr().err == "audenoise: wrote out.wav\n"
    assert sf.info("out.wav").frames == 4000


def test_what_is_clipped_is_said_with_the_gain_that_avoids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model_folders.gain_model(Path("twice"), 2.0)
    swing = np.linspace(-0.75, 0.75, 4001)  # comes out with peaks of 1.5
    n_over = int(np.count_nonzero(np.abs(2 * swing) > 1.0))
    Path("in").mkdir()
    for name in ("a.wav", "b.wav"):
        sf.write(f"in/{name}", swing, 16000)
    sf.write("in/float.wav", swing, 16000, subtype="FLOAT")
    command = ["predict", "in", "-o", "out", "--model", "twice"]
    assert main(command) == 0
    told = re.findall("clipped.*", capsys.readouterr().err)
    (line,) = told
    found = re.match(r"clipped (\d+) samples in out/[ab]\.wav and in 1 more, up to 3\.5 dB over full", line)
    assert found
    assert int(found[1]) == pytest.approx(2 * n_over, abs=4)  # 16 bits, and the FFT
    assert np.abs(sf.read("out/float.wav")[0]).max() == pytest.approx(1.5, rel=1e-3)
    options = re.findall(r"--gain-db -?\d+\.\d --overwrite", line)[0].split()
    assert main([*command, *options, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    gain = 10 ** (float(options[1]) / 20)
    assert 0.97 < 1.5 * gain < 1
    np.testing.assert_allclose(sf.read("out/a.wav")[0], 2 * gain * swing, atol=1e-3)
    # What a gain of one's own makes too loud, the next one allows for.
    assert main([*command, "--gain-db", "6", "--overwrite"]) == 0
    assert "--gain-db -3.6 " in capsys.readouterr().err


def test_integers_in_a_file_of_floats_are_made_room_for(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write("in.wav", 30_000 * noise(16000), 16000, "FLOAT")
    assert predict("in.wav", "-o", "out.flac") == 0
    options = re.findall(r"--gain-db -?\d+\.\d --overwrite", capsys.readouterr().err)[0].split()
    assert float(options[1]) < -60
    assert predict("in.wav", "-o", "out.flac", *options) == 0
    assert "clipped" not in capsys.readouterr().err


def test_a_name_that_begins_with_a_dash_is_told_from_an_option(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write("-dash.wav", noise(16000), 16000)
    assert predict("-dash.wav", "-o", "out.wav") == 2
    assert "-dash.wav: begins with a dash; write ./-dash.wav" in capsys.readouterr().err
    assert predict("./-dash.wav", "-o", "out.wav") == 0


@pytest.mark.parametrize("bad", ["nan", "61", "-121"])
def test_a_gain_beyond_reason_is_refused(predict: Callable[..., int], tmp_path: Path, bad: str) -> None:
    sf.write("in.wav", noise(400), 16000)
    assert predict("in.wav", "-o", "out.wav", "--gain-db", bad) in (1, 2)
    assert left_in(tmp_path) == ["in.wav"]


def test_results_inside_the_input_are_not_denoised_again(predict: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sf.write("in/a.wav", noise(4000), 16000)
    for _ in range(2):
        assert predict("in", "-o", "in/out") == 0
    assert left_in(tmp_path / "in") == ["a.wav", "out/a.wav"]
    (tmp_path / "in/out/a.wav").unlink()
    for _ in range(2):
        assert predict("in", "-o", "in", "--suffix", "_x") == 0
    assert left_in(tmp_path / "in") == ["a.wav", "a_x.wav"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a.wav", "-o", "a.wav", "--overwrite"], 1, "would replace a recording"),
        (["a.wav", "link.wav", "-o", ".", "--overwrite"], 1, "would replace a recording"),
        (["a.wav", "sub/a.wav", "-o", "out"], 1, "would both be written"),
        (["a.wav", "-o", "out.m4a"], 1, "can't write .m4a"),
        (["a.wav", "-o", "a.wav/x.wav"], 1, "a.wav"),
        (["a.wav", "sub", "-o", "sub/a.wav"], 1, "is a file"),
        (["a.wav", "-o", "out.wav", "--suffix", "_x"], 1, "give a folder"),
        (["empty", "-o", "out"], 1, "no audio files"),
        (["phone", "-o", "out"], 1, "phone/memo.m4a: is not audio that can be read here"),
        (["-", "-o", "out.wav"], 1, "reading from standard input is not possible"),
        (["a.wav", "-o", "/proc/out.wav"], 1, "/proc/out.wav: can't be written ("),
        (["a.wav", "-o", "out", "--model", "nowhere/else"], 1, "no such model folder"),
        (["a.wav", "-o", "out", "--strength", "nan"], 1, "strength must be from 0 to 1"),
        (["a.wav", "-o", "out", "--strength", "2"], 2, "--strength"),
        (["a.wav", "-o", "out", "--max-attenuation-db", "-3"], 2, "--max-attenuation-db"),
        (["a.wav"], 2, "--output"),
        (["-o", "out"], 2, "IN"),
    ],
)
def test_a_wrong_command_says_so_in_one_line_and_changes_nothing(
    predict: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    for folder in ("sub", "empty", "phone"):
        (tmp_path / folder).mkdir()
    (tmp_path / "phone/memo.m4a").write_bytes(b"not looked at")
    sf.write("a.wav", noise(4000), 16000)
    sf.write("sub/a.wav", noise(4000), 16000)
    (tmp_path / "link.wav").symlink_to("a.wav")
    before = left_in(tmp_path)
    assert predict(*arguments) == code
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("audenoise: error: ")
    assert says in printed[0]
    assert left_in(tmp_path) == before


def test_what_can_not_be_read_is_counted(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/memo.m4a").write_bytes(b"not looked at")
    sf.write("phone/a.wav", noise(4000), 16000)
    assert predict("phone", "-o", "out") == 1
    error, last = capsys.readouterr().err.splitlines()
    assert "phone/memo.m4a" in error
    assert last == "audenoise: 1 denoised, 0 kept, 1 failed"
    assert sf.info("out/a.wav").frames == 4000


@pytest.mark.parametrize("amplitude", [0.0, 30.0])
def test_silent_and_clipped_recordings(predict: Callable[..., int], amplitude: float) -> None:
    sf.write("in.wav", np.clip(amplitude * noise(4000), -1, 1), 16000)
    assert predict("in.wav", "-o", "out.wav") == 0
    assert np.abs(sf.read("out.wav")[0]).max() <= 0.501 * min(1.0, amplitude)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_without_permission(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write("in.wav", noise(4000), 16000)
    (tmp_path / "locked").mkdir(mode=0o500)
    assert predict("in.wav", "-o", "locked/out.wav") == 1
    assert predict("in.wav", "-o", "locked/more/") == 1
    (tmp_path / "in.wav").chmod(0)
    assert predict("in.wav", "-o", "out.wav") == 1
    assert len(lines := errors(capsys)) == 3
    assert all("permission" in line.lower() and "Choose another" in line for line in lines[:2])
    assert left_in(tmp_path) == ["in.wav"]


def test_a_disk_that_takes_no_more_leaves_nothing_behind(half: str, tmp_path: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    sf.write(tmp_path / "in.wav", noise(100_000), 16000)
    command = [*PROGRAM, "predict", "in.wav", "-o", "out.wav", "--model", half]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, preexec_fn=limit_file_size
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "audenoise: error: out.wav: can't be written" in done.stderr
    assert left_in(tmp_path) == ["in.wav"]


def test_a_full_disk_stops_the_batch(
    predict: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a.wav", "b.wav"):
        sf.write(name, noise(4000), 16000)

    class FullDisk(batch.AudioWriter):
        def write(self, block: np.ndarray) -> None:
            raise batch.AudioFileError(f"{self.path}: the disk is full")

    monkeypatch.setattr(batch, "AudioWriter", FullDisk)
    monkeypatch.setattr(batch, "_is_full", lambda folder: True)
    assert predict("a.wav", "b.wav", "-o", "out") == 1
    assert len(errors(capsys)) == 1
    assert left_in(tmp_path) == ["a.wav", "b.wav"]


def test_processes_write_what_one_process_writes(half: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(4):
        sf.write(tmp_path / f"in/{k}.wav", noise(5000 + k), 16000)
    (tmp_path / "in/bad.wav").write_text("bad")
    for jobs in ("1", "2"):
        command = [*PROGRAM, "predict", "in", "-o", f"out{jobs}", "--jobs", jobs, "--model", half]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 1
        assert [line for line in done.stderr.splitlines() if "bad.wav" in line and "error: " in line]
        assert "4 denoised, 0 kept, 1 failed" in done.stderr
    assert len(left_in(tmp_path / "out1")) == 4
    for name in left_in(tmp_path / "out1"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


def test_all_cores_work_where_their_start_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "cores", lambda: 3)
    for name, seconds in (("short", 50), ("long", 100)):
        sf.write(tmp_path / f"{name}.wav", np.zeros(8000 * seconds, np.int16), 8000)
    (tmp_path / "bad.wav").write_text("bad")

    def pairs(*names: str) -> list[FilePair]:
        return [FilePair(tmp_path / f"{name}.wav", tmp_path / "out" / f"{name}.wav") for name in names]

    assert batch.fitting_jobs(pairs("short", "short")) == 1
    assert batch.fitting_jobs(pairs("long", "bad")) == 1
    assert batch.fitting_jobs(pairs("short", "bad", "long")) == 3
    assert batch.fitting_jobs(pairs("short", "long")) == 2  # one for each file at most
    assert batch.fitting_jobs(pairs("long", "long", "long", "long"), 2) == 2
    assert batch.fitting_jobs(pairs("short", "short"), 2) == 2  # who asks for it gets it
    assert batch.fitting_jobs(pairs("long")) == batch.fitting_jobs([]) == 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("signal_sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing_half_written(
    half: str, tmp_path: Path, jobs: str, signal_sent: signal.Signals, code: int
) -> None:
    for name in ("a", "b", "c"):
        with sf.SoundFile(tmp_path / f"{name}.wav", "w", 8000, 1, subtype="PCM_16") as file:
            file.write(np.zeros(8000 * 3600, np.int16))
    command = [*PROGRAM, "predict", "a.wav", "b.wav", "c.wav", "-o", "out", "--jobs", jobs, "--model", half]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/.*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        # As a terminal does it: every process of the group gets the signal.
        os.killpg(process.pid, signal_sent)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == code
    assert printed == f"audenoise: {'interrupted' if code == 130 else 'terminated'}\n"
    assert not [
        name for name in left_in(tmp_path / "out") if sf.info(tmp_path / "out" / name).duration < 3600
    ]
    assert len(left_in(tmp_path / "out")) < 3


def probe(*arguments: str, before: str = "") -> list[str]:
    command = [sys.executable, "-c", PROBE.format(before=before), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_nothing_heavy_is_imported(half: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "in.wav", noise(16000), 16000)
    assert probe("--help") == ["0"]
    assert probe("predict", "--help") == ["0"]
    paths = [str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav")]
    assert probe("predict", *paths, "--model", half) == ["0"]
    assert (tmp_path / "out.wav").exists()


def test_the_proof_of_light_imports_can_fail() -> None:
    assert probe("--help", before="sys.modules['tensorflow'] = sys") == ["0", "tensorflow"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_memory_does_not_grow_with_the_file(half: str, tmp_path: Path) -> None:
    # VmHWM is the process's own; ru_maxrss starts from its parent's size.
    script = (
        "import re, sys; from audenoise.cli import main; code = main(sys.argv[1:]); "
        "print(code, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for minutes in (1, 10):
        with sf.SoundFile(tmp_path / f"{minutes}.wav", "w", 48000, 2, subtype="PCM_16") as file:
            for _ in range(minutes):
                file.write(noise(48000 * 60, 2))
        arguments = ["predict", f"{minutes}.wav", "-o", "out/", "--model", half]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        code, peak_kib = done.stdout.split()
        assert code == "0"
        peaks.append(int(peak_kib) / 1024)
    assert max(peaks) < 600
    assert peaks[1] - peaks[0] < 20


def test_plot_writes_a_picture_beside_the_result(predict: Callable[..., int], tmp_path: Path) -> None:
    pytest.importorskip("audenoise.plotting")
    sf.write("in.wav", noise(16000), 16000)
    assert predict("in.wav", "-o", "out.wav", "--plot") == 0
    assert (tmp_path / "out.wav.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert left_in(tmp_path) == ["in.wav", "out.wav", "out.wav.png"]


def test_a_picture_of_another_result_is_neither_kept_silently_nor_lost(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("audenoise.plotting")
    sf.write("in.wav", noise(16000), 16000)
    (tmp_path / "out.wav.png").write_bytes(b"mine")
    assert predict("in.wav", "-o", "out.wav", "--plot") == 1
    assert "out.wav.png: exists already; move it, or replace it with --overwrite" in capsys.readouterr().err
    assert left_in(tmp_path) == ["in.wav", "out.wav.png"]
    assert (tmp_path / "out.wav.png").read_bytes() == b"mine"
    assert predict("in.wav", "-o", "out.wav", "--plot", "--overwrite") == 0
    assert (tmp_path / "out.wav.png").read_bytes()[:4] == b"\x89PNG"


def test_a_float_file_beyond_full_scale_is_denoised_as_its_array_is(
    predict: Callable[..., int],
) -> None:
    audio = (32768 * noise(70_001, 2)).astype(np.float32)
    sf.write("in.wav", audio, 16000, subtype="FLOAT")
    assert predict("in.wav", "-o", "out.wav", "--model", "small") == 0
    expected = Denoiser.from_preset("small").denoise(audio, 16000)
    found, _ = sf.read("out.wav", dtype="float32")
    assert np.abs(found - expected).max() < 1e-4 * np.abs(audio).max()
    assert np.abs(expected).std() < 0.5 * audio.std()


def test_the_file_path_and_the_array_path_agree(predict: Callable[..., int], half: str) -> None:
    audio = noise(150_001, 2).astype(np.float32)
    sf.write("in.wav", audio, 44100, subtype="FLOAT")
    assert predict("in.wav", "-o", "out.wav", "--strength", "0.7", "--max-attenuation-db", "6") == 0
    expected = Denoiser.from_preset(half).denoise(audio, 44100, strength=0.7, max_attenuation_db=6)
    np.testing.assert_allclose(sf.read("out.wav", dtype="float32")[0], expected, atol=1e-6)


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_without_a_command_the_help_is_shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "\nCommands:\n" in capsys.readouterr().err


def test_models_show_prints_checked_metadata(half: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", half]) == 0
    assert '"sample_rate": 16000' in capsys.readouterr().out
    assert main(["models", "show", "no-such-model"]) == 1
    (says,) = errors(capsys)
    assert says.startswith("audenoise: error: no model called 'no-such-model'; bundled models: ")
    assert "or a spec file, or name a recipe: additive-autoencoder, " in says
    assert main(["models", "show", "no/such"]) == 1
    assert errors(capsys) == ["audenoise: error: no/such: no such model folder"]


def test_models_check_names_each_bad_one(
    half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    louder = model_folders.gain_enhancer(tmp_path / "louder", 2.0).folder
    bad = model_folders.gain_model(tmp_path / "bad", 1.0).folder
    (bad / "model.onnx").write_bytes(b"changed")
    assert main(["models", "check", half, str(louder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"half: \d files as they were published; .* 16000 Hz went through, -6 dB", first)
    assert re.fullmatch(r"louder: \d files as they were published; .* 48000 Hz went through, \+6 dB", second)
    assert main(["models", "check", str(bad), half, "no-such-model"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("half: ")
    assert [line.partition(": error: ")[2].partition(";")[0] for line in err.splitlines()] == [
        f"{bad}: model.onnx differs from its checksum in metadata.json",
        "no model called 'no-such-model'",
    ]


def test_files_go_through_the_model_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, gain in (("standard", 0.5), ("large", 0.25)):
        model_folders.gain_model(tmp_path / name, gain)
    monkeypatch.setattr(presets, "models_folder", lambda: tmp_path)
    audio = noise(8000)[:, 0].astype(np.float32)
    sf.write(tmp_path / "in.wav", audio, 16000, subtype="FLOAT")
    assert main(["predict", str(tmp_path / "in.wav"), "-o", str(tmp_path / "o.wav")]) == 0
    np.testing.assert_allclose(sf.read(tmp_path / "o.wav")[0], 0.25 * audio, atol=1e-6)
    assert model_system().name == "audenoise large"
    # What may become a stream has to keep up with a microphone.
    np.testing.assert_allclose(Denoiser.from_preset().denoise(audio, 16000), 0.5 * audio, atol=1e-6)


def test_bundled_models_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("small", "standard", "large"):
        model_folders.gain_model(tmp_path / name)
    enhancer = model_folders.gain_enhancer(tmp_path / "enhancer", 1.0).folder
    monkeypatch.setattr(presets, "models_folder", lambda: tmp_path)
    assert presets.bundled_denoisers() == ["large", "standard", "small"]
    assert main(["models", "list"]) == 0
    names = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if "Hz" in line]
    assert names == [
        "large (default for files)",
        "standard (default for live and Python)",
        "small",
        "enhancer (for enhance)",
    ]
    sf.write(tmp_path / "in.wav", noise(4000), 16000)
    assert (
        main(["predict", str(tmp_path / "in.wav"), "-o", str(tmp_path / "o.wav"), "--model", "enhancer"]) == 1
    )
    assert errors(capsys)[0] == (
        f"audenoise: error: {enhancer}: metadata.json: is an enhancer's; use `audenoise enhance`"
    )


def test_nothing_is_sent_and_nothing_is_left_at_home(tmp_path: Path, half: str) -> None:
    """ONNX Runtime would queue usage events in ~/.cache and look for its server."""
    sf.write(tmp_path / "in.wav", noise(4000), 16000)
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")} | {"HOME": str(home)}
    command = [sys.executable, "-m", "audenoise", "predict", "in.wav", "-o", "out.wav", "--model", half]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out.wav").is_file()
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["", "-o", "out"], 2, "must not be empty"),
        (["a.wav", "-o", ""], 2, "must not be empty"),
        (["a.wav", "b.wav", "-o", "x.wav"], 1, "x.wav: is the name of a file; several results need a folder"),
        (["folder", "-o", "x.wav"], 1, "x.wav: is the name of a file"),
        (["a.wav", "-o", "-"], 1, "standard output"),
    ],
)
def test_outputs_that_nobody_means_are_refused(
    tmp_path: Path, monkeypatch, capsys, half: str, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("a.wav", "b.wav", "folder/c.wav"):
        sf.write(name, noise(400), 16000)
    before = sorted(tmp_path.rglob("*"))
    assert main(["predict", *arguments, "--model", half]) == code
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("container", "subtype", "result"),
    [
        ("W64", "MS_ADPCM", ("WAV", "PCM_16")),
        ("VOC", "ULAW", ("WAV", "ULAW")),
        ("AU", "PCM_24", ("AU", "PCM_24")),
    ],
)
def test_a_suffix_that_lies_gives_a_result_that_can_be_read(
    tmp_path: Path, monkeypatch, half: str, container: str, subtype: str, result: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("in.wav", noise(4000) * 0.1, 16000, format=container, subtype=subtype)
    assert main(["predict", "in.wav", "-o", "out.wav", "--model", half]) == 0
    info = sf.info("out.wav")
    assert (info.format, info.subtype, info.frames) == (*result, sf.info("in.wav").frames)


def test_adpcm_recordings_come_back_as_pcm(tmp_path: Path, monkeypatch, half: str) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("in.wav", noise(4000) * 0.1, 16000, subtype="IMA_ADPCM")
    assert main(["predict", "in.wav", "-o", "out.wav", "--model", half]) == 0
    assert sf.info("out.wav").subtype == "PCM_16"
    assert sf.info("out.wav").frames == sf.info("in.wav").frames


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_tags_of_a_recording_stay_with_it(predict: Callable[..., int], half: str, suffix: str) -> None:
    tags = {"title": "Tür und Tor", "artist": "someone", "comment": "first take", "date": "2024"}
    source, target = f"in.{suffix}", f"out.{suffix}"
    kind: dict[str, Any] = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    with sf.SoundFile(source, "w", 48000, 1, **kind) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(noise(48000))
    with sf.SoundFile(source) as file:
        kept = {name: text for name, text in file.copy_metadata().items() if name != "software"}
    assert kept.keys() >= {"title", "artist"}
    assert predict(source, "-o", target, "--model", half) == 0
    with sf.SoundFile(target) as file:
        found = file.copy_metadata()
        assert file.frames == sf.info(source).frames
    assert {name: found.get(name) for name in kept} == kept
