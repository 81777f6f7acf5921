"""What happens to files: odd names, links in a circle, disks that refuse, recordings that change under way.

The table in ROBUSTNESS.md says what else was tried, and where it is tested.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import model_folders
import numpy as np
import pytest
import soundfile as sf

from audenoise.audio import AudioReader, AudioWriter
from audenoise.audio.info import sndfile_name
from audenoise.cli import main
from audenoise.errors import AudenoiseError, AudioFileError
from audenoise.html_pages import write_text
from audenoise.mixtures import build_pool
from audenoise.plotting.style import save_figure

posix = pytest.mark.skipif(os.name == "nt", reason="names and links of POSIX")
ODD_NAMES = ["a b", "two\nlines", "-rf", "$a$ \\alpha", "esc\x1b[31m", "bytes\udcff\udcfe", "音"]


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n_samples).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "half"
    model_folders.gain_model(folder, 0.5)
    return str(folder)


@posix
def test_names_of_any_bytes(half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for i, name in enumerate(ODD_NAMES):
        sf.write(sndfile_name(tmp_path / f"in/{name}.wav"), noise(4000, i), 16000)
    (tmp_path / "in/junk\n\udcff.wav").write_bytes(b"junk" * 100)
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "in"), "-o", str(out), "--model", half]) == 1
    told = [line for line in capsys.readouterr().err.split("\n") if "error" in line]
    assert len(told) == 1
    assert told[0].isprintable()
    assert "junk" in told[0]
    assert {path.name for path in out.iterdir()} == {f"{name}.wav" for name in ODD_NAMES}

    name = tmp_path / "in/$a$ \udcff.wav"
    sf.write(sndfile_name(name), noise(4000), 16000)
    assert main(["predict", str(name), "-o", f"{out}/b.wav", "--model", half, "--plot"]) == 0
    assert (out / "b.wav.png").stat().st_size > 10_000
    (tmp_path / "in/junk\n\udcff.wav").unlink()
    (tmp_path / "cache").mkdir()
    pool, skipped = build_pool([tmp_path / "in"], sample_rate=16000, cache=tmp_path / "cache", jobs=1)
    assert skipped == []
    assert len(pool.lengths) == len(ODD_NAMES) + 1


@posix
def test_a_name_that_cannot_be_written_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> list[str]:
        "a/b\udcff.wav".encode()
        return []

    monkeypatch.setattr("audenoise.presets.list_presets", refuse)
    assert main(["models", "list"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("audenoise: error: a/b\\udcff.wav: a name with bytes that are no UTF-8")
    assert told.count("\n") == 1


@posix
def test_links_in_a_circle(half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sf.write(folder / "a.wav", noise(4000), 16000)
    (folder / "loop").symlink_to(folder)
    (folder / "self.wav").symlink_to("self.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    assert main(["predict", str(folder), "-o", str(tmp_path / "out"), "--model", half]) == 1
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a.wav"]
    told = capsys.readouterr().err
    assert "self.wav: can't be read (Too many levels of symbolic links)" in told
    assert "gone.wav: no such file" in told
    assert main(["predict", str(folder / "a.wav"), "-o", str(folder / "self.wav"), "--model", half]) == 1
    assert main(["predict", str(folder / "a.wav"), "-o", "x.wav", "--model", str(folder / "self.wav")]) == 1
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_recording_that_shrinks_while_it_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, noise(400_000), 16000)
    with AudioReader(path) as reader:
        blocks = reader.blocks(1000)
        next(blocks)
        os.truncate(path, 20_000)
        with pytest.raises(AudioFileError, match="cut short"):
            list(blocks)


def test_a_recording_that_vanishes_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audenoise.audio import info

    path = tmp_path / "a.mp3"
    sf.write(path, noise(4000), 16000)
    monkeypatch.setattr(info.probe, "mp3_has_length", lambda path: path.with_name("b.mp3").read_bytes())
    with pytest.raises(AudioFileError, match=r"a\.mp3: can't be read \(No such file or directory\)"):
        info.audio_info(path)


def test_a_read_only_disk_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, even removing what isn't there fails."""
    from matplotlib.figure import Figure

    def refuse(*arguments: object, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Figure, "savefig", refuse)
    with (
        pytest.raises(AudioFileError, match=r"out\.wav: can't be written \(Read-only file system"),
        AudioWriter(tmp_path / "out.wav", sample_rate=16000, channels=1),
    ):
        pass
    with pytest.raises(AudenoiseError, match=r"out\.html: can't be written \(Read-only file system"):
        write_text(tmp_path / "out.html", "x", overwrite=False)
    with pytest.raises(AudenoiseError, match=r"out\.png: the picture can't be written: Read-only"):
        save_figure(Figure(), tmp_path / "out.png")


def test_two_commands_into_one_folder(half: str, tmp_path: Path) -> None:
    names = [f"{i}.wav" for i in range(12)]
    for i, name in enumerate(names):
        sf.write(tmp_path / name, noise(40_000, i), 16000)
    command = [sys.executable, "-m", "audenoise", "predict", *names, "-o", "out", "--model", half, "-q"]
    runs = [
        subprocess.Popen([*command, *more], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for more in ([], ["--overwrite"])
    ]
    told = [run.communicate(timeout=120)[1] for run in runs]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert runs[1].returncode == 0
    assert told[1] == ""
    # The careful one keeps what the other was faster with, and says so.
    assert all("is kept" in line or "kept existing" in line for line in told[0].splitlines())
    for name in names:
        before, after = (sf.read(path)[0] for path in (tmp_path / name, tmp_path / "out" / name))
        np.testing.assert_allclose(after, before / 2, atol=2e-4)
