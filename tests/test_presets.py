"""Model folders that are damaged, hostile or not there: a `ModelError` that says which file and key."""

import json
import os
from pathlib import Path
from typing import Any

import model_folders
import pytest

from audenoise import presets
from audenoise.errors import ModelError
from audenoise.presets import Preset, find_preset, list_presets, load_preset


@pytest.fixture
def preset(tmp_path: Path) -> Preset:
    return model_folders.gain_model(tmp_path / "tiny")


def rewrite(preset: Preset, **changes: Any) -> None:
    text = json.dumps({**preset.metadata, **changes})
    (preset.folder / "metadata.json").write_text(text, encoding="utf-8")


def test_what_was_written_is_loaded(preset: Preset) -> None:
    assert load_preset(preset.folder) == preset
    assert preset.name == "tiny"
    assert preset.stft.n_fft == 512
    assert set(preset.files) == {"model.onnx"}
    preset.verify()


def test_bundled_models_are_found_by_name(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "models_folder", lambda: tmp_path)
    monkeypatch.setattr(presets, "DEFAULT_PRESET", "tiny")
    assert list_presets() == ["tiny"]
    assert find_preset() == find_preset("tiny") == preset.folder
    with pytest.raises(ModelError, match="no model called 'other'; bundled models: tiny"):
        find_preset("other")


@pytest.mark.parametrize("damage", [b"", b"changed", None])
def test_a_changed_file_is_not_used(preset: Preset, damage: bytes | None) -> None:
    graph = preset.folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"x" if damage is None else damage)
    with pytest.raises(ModelError, match=r"tiny: model.onnx differs from its checksum"):
        load_preset(preset.folder).read_file("model.onnx")
    graph.unlink()
    with pytest.raises(ModelError, match=r"tiny: model.onnx is missing"):
        preset.verify()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format_version": 2}, "format 2.*update"),
        ({"format_version": True}, "format_version: must be an integer"),
        ({"sample_rate": "16000"}, "sample_rate: must be an integer"),
        ({"sample_rate": 10**9}, "sample_rate: must be an integer from"),
        ({"name": "../evil"}, "name: must consist of letters"),
        ({"description": None}, "description: must be text"),
        ({"stft": []}, "stft: must be an object"),
        ({"stft": {"n_fft": 512, "hop_length": 256, "window": "hann"}}, "stft: key win_length is missing"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "files: must be plain file names"),
        ({"files": {"/etc/passwd": "0" * 64}}, "files: must be plain file names"),
        ({"files": {"model.onnx": "0" * 63}}, "files.model.onnx: must be a SHA-256"),
        ({"context_frames": {"left": -1, "right": 0}}, "context_frames: left: must be an integer"),
        ({"context_frames": {"left": 1, "right": 0, "multiple": 2}}, "left: must be a multiple of 2"),
    ],
)
def test_wrong_metadata_names_folder_file_and_key(preset: Preset, changes: dict[str, Any], says: str) -> None:
    rewrite(preset, **changes)
    with pytest.raises(ModelError, match=rf"tiny: metadata\.json.*{says}") as caught:
        load_preset(preset.folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format_version": ' + b"9" * 10_000 + b"}"],
)
def test_metadata_that_is_no_object_is_refused(preset: Preset, content: bytes) -> None:
    (preset.folder / "metadata.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"tiny: metadata\.json"):
        load_preset(preset.folder)


def test_oversized_metadata_is_refused(preset: Preset) -> None:
    rewrite(preset, description="x" * (1 << 20))
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        load_preset(preset.folder)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_out_of_the_folder_and_pipes_are_refused(preset: Preset, tmp_path: Path) -> None:
    graph = preset.folder / "model.onnx"
    outside = tmp_path / "outside.onnx"
    graph.rename(outside)
    graph.symlink_to(outside)
    with pytest.raises(ModelError, match="lies outside the model folder"):
        preset.read_file("model.onnx")
    graph.unlink()
    os.mkfifo(graph)
    with pytest.raises(ModelError, match="not a regular file"):
        preset.read_file("model.onnx")
    graph.unlink()
    graph.symlink_to(graph)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        preset.read_file("model.onnx")
