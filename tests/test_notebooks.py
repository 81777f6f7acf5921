"""The notebooks: executed as a reader would, offline, on the project's samples; stored without results."""

import base64
import csv
import io
import re
import sys
from pathlib import Path

import material
import nbformat
import numpy as np
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient
from recordings import write_corpus

from audenoise.audio import read_audio
from audenoise.errors import DataError
from audenoise.mixing import active_rms, rms

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = [
    "01-spectrograms.ipynb",
    "02-train-your-own.ipynb",
    "03-evaluation.ipynb",
    "04-restoration.ipynb",
]
CELL_LIMIT_S = 400  # minutes on a busy machine, seconds on an idle one
VARIABLES = tuple(f"AUDENOISE_{name}" for name in ("CLEAN", "NOISE", "MODEL", "WORK", "ENHANCER", "SPEECH"))

# A slash, a tilde or a drive where a word begins; `a / b` and `noisy/ clean/` are none.
_ABSOLUTE = re.compile(
    r"(?:^|[\s\"'`(=])(/\w[^\s\"'`)]*|~/[^\s\"'`)]*|[A-Za-z]:[\\/][^\s\"'`)]*)", re.MULTILINE
)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def absolute_paths(source: str) -> list[str]:
    return _ABSOLUTE.findall(source)


def stored(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell keeps of an execution."""
    kept = [output.output_type for output in cell.get("outputs", [])]
    return kept + ["execution_count"] * (cell.get("execution_count") is not None)


@pytest.fixture(autouse=True)
def _examples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_these_are_all():
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_results_and_for_any_machine(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [(cell.source, stored(cell)) for cell in notebook.cells if stored(cell)] == []
    for cell in notebook.cells:
        assert absolute_paths(cell.source) == []
        if cell.cell_type == "markdown":
            missing = [link for link in _LINK.findall(cell.source) if not (FOLDER / link).exists()]
            assert missing == []


@pytest.mark.parametrize(
    "source", ['open("/home/me/a.wav")', "folder=/data/x", "~/speech", "`C:\\speech`", "see (/tmp)"]
)
def test_an_absolute_path_is_found(source):
    assert len(absolute_paths(source)) == 1


@pytest.mark.parametrize(
    "source", ['work / "run"', "noisy/ clean/", "https://a.org/b", "a/b", "rate / 2", "1/f"]
)
def test_what_is_no_absolute_path_is_not_found(source):
    assert absolute_paths(source) == []


def test_a_stored_result_is_found():
    cell = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("stream", text="1")], execution_count=3
    )
    assert stored(cell) == ["stream", "execution_count"]


@pytest.mark.parametrize(
    ("name", "n_pictures", "n_players"),
    [(NOTEBOOKS[0], 9, 16), (NOTEBOOKS[1], 3, 4), (NOTEBOOKS[2], 5, 12), (NOTEBOOKS[3], 8, 46)],
)
def test_a_notebook_runs(name, n_pictures, n_players, tmp_path, monkeypatch):
    # What Jupyter and the notebook write stays here, and nothing is fetched.
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    notebook = nbformat.read(FOLDER / name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import sys; print(sys.executable)"))
    # A cell that fails or takes too long raises.
    NotebookClient(
        notebook,
        timeout=CELL_LIMIT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    *cells, python = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert python.outputs[0].text.strip() == sys.executable
    outputs = [output for cell in cells for output in cell.outputs]
    data = [output.get("data", {}) for output in outputs]
    # A figure that isn't shown leaves its address.
    assert [each for each in data if list(each) == ["text/plain"] and "Figure" in each["text/plain"]] == []
    pictures = [
        imread(io.BytesIO(base64.b64decode(each["image/png"]))) for each in data if "image/png" in each
    ]
    assert len(pictures) == n_pictures
    assert all(picture.shape[1] > 800 and picture[..., :3].std() > 0.05 for picture in pictures)
    assert sum("<audio" in each.get("text/html", "") for each in data) == n_players
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "warning" not in text.lower()
    assert sorted(path.name for path in FOLDER.iterdir() if path.name != "__pycache__") == sorted(
        [*NOTEBOOKS, "material.py"]
    )


def test_folders_of_ones_own_come_from_the_environment(tmp_path, monkeypatch):
    clean, noise = write_corpus(tmp_path / "own")
    monkeypatch.setenv("AUDENOISE_CLEAN", str(clean))
    with pytest.raises(DataError, match="both or neither"):
        material.clean_and_noise(tmp_path)
    monkeypatch.setenv("AUDENOISE_NOISE", str(noise))
    assert material.clean_and_noise(tmp_path) == (clean, noise)
    speech, added = material.speech_and_noise(clean, noise, 16000)
    assert speech.shape == added.shape == (48000,)


def test_example_noises_are_the_same_every_time_and_not_silent(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    folders = [material.clean_and_noise(tmp_path / name)[1] for name in "ab"]
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*.wav")) for folder in folders]
    assert files[0] == files[1]
    assert {path.parts[0] for path in files[0]} >= {"fan", "street", "hiss", "hum", "rumble", "wind"}
    for name in files[0]:
        audio, _ = read_audio(folders[0] / name)
        np.testing.assert_array_equal(audio, read_audio(folders[1] / name)[0])
        assert 0.005 < rms(audio.ravel()) < 0.2


def test_pairs_have_the_snr_of_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    clean, noise = material.clean_and_noise(tmp_path)
    noisy_folder, clean_folder, table = material.write_pairs(tmp_path / "pairs", clean, noise, snr_db=(0, 10))
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == len(list(noisy_folder.iterdir())) == 2 * len({row["label"] for row in rows})
    for row in rows:
        (noisy, rate), (target, _) = (read_audio(side / row["name"]) for side in (noisy_folder, clean_folder))
        speech, added = target[:, 0], noisy[:, 0] - target[:, 0]
        measured_db = 20 * np.log10(active_rms(speech, rate) / rms(added))
        assert measured_db == pytest.approx(float(row["snr_db"]), abs=0.1)  # 16 bits
