"""Reports: what they say of models and runs, and that the page is whole, safe and can be heard."""

import base64
import hashlib
import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from architecture_specs import SPECS
from browser import browser, needs_browser, visitor
from model_folders import gain_model
from recordings import hiss, voice

from audenoise.cli import main
from audenoise.errors import AudenoiseError
from audenoise.evaluation import Evaluation, PairInfo, SystemScores, find_pairs
from audenoise.html_pages import escaped, fill_page, write_text
from audenoise.presets import write_metadata
from audenoise.reports.building import model_of
from audenoise.reports.facts import best_epoch_scores
from audenoise.reports.players import ranked_files
from audenoise.run_folders import RunState

RATE = 16000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, and a model that halves."""
    root = tmp_path_factory.mktemp("report")
    for name in ("noisy", "clean"):
        (root / name).mkdir()
    for number in range(3):
        clean = voice(2.0, RATE, seed=number)
        soundfile.write(root / "clean" / f"{number}.wav", clean, RATE)
        noisy = clean + 0.3 * (number + 1) * hiss(2.0, RATE, seed=50 + number)
        soundfile.write(root / "noisy" / f"{number}.wav", np.clip(noisy, -1, 1), RATE)
    gain_model(root / "half", 0.5)
    return root


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "spec.yaml").write_text("name: tiny\n# <script>alert(1)</script>\n")
    RunState(epoch=3, best_epoch=2, best_loss=0.25, seconds=7200.0).write(folder)
    rows = ["epoch,loss,val_loss,val_si_sdr_db", "0,0.9,0.8,1.5", "1,0.5,0.25,6.125", "2,0.4,0.3,5.0"]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_report_of_a_run_has_its_curves_and_its_best_epoch(tmp_path: Path) -> None:
    run, page = run_folder(tmp_path / "my run"), tmp_path / "page.html"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<h1>my run</h1>" in text
    assert "<dt>best epoch</dt><dd>2</dd>" in text
    assert "<dt>time</dt><dd>2.00 h</dd>" in text
    assert "<td>0.25</td><td>6.125</td>" in text
    assert text.count("data:image/png;base64,") == 1
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_the_page_runs_its_own_script_only(tmp_path: Path, folders: Path) -> None:
    page = tmp_path / "page.html"
    metadata = json.loads((folders / "half" / "metadata.json").read_text())
    hostile = tmp_path / "hostile"
    gain_model(hostile)
    scores = {
        "pairs": 2,
        "mean": {"pesq_wb": 1.75, "<i>": None},
        "by_snr_db": {"-5": {"pesq_wb": 1.5}, "<b>": 3},
    }
    change = {"description": "<script>steal()</script>", "licence": "<img src=x>", "scores": scores}
    write_metadata(hostile, {**metadata, **change})
    assert main(["report", str(hostile), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>steal" not in text
    assert "<img src=x>" not in text
    assert "<th>-5 dB</th><td>1.5</td>" in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert not re.findall(r"https?://|<link|src=\"(?!data:)", text)


def test_the_report_of_a_model_on_pairs_has_scores_and_players(tmp_path: Path, folders: Path) -> None:
    page, labels = tmp_path / "page.html", tmp_path / "labels.csv"
    labels.write_text("name,snr_db,label\n0.wav,10,fan\n1.wav,5,fan\n2.wav,0,street\n")
    arguments = [
        str(folders / "half"),
        str(folders / "noisy"),
        str(folders / "clean"),
        "--labels",
        str(labels),
    ]
    options = ["--metrics", "si_sdr_db", "--files", "1", "--jobs", "1"]
    assert main(["report", *arguments, *options, "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    for heading in ("Scores", "By SNR of the input", "By class of noise"):
        assert f"<h2>{heading}</h2>" in text
    assert "<h2>Worst files, by the gain in SI-SDR dB</h2>" in text
    sounds = [
        soundfile.read(io.BytesIO(base64.b64decode(each)), dtype="int16")[0]
        for each in re.findall(r'<script type="application/octet-stream">([^<]+)<', text)
    ]
    assert len(sounds) == 6
    noisy, denoised, clean = sounds[:3]
    assert np.abs(denoised - noisy / 2).max() <= 1.01
    assert len(clean) == len(noisy) == 2 * RATE


def test_the_report_of_a_run_on_pairs_uses_its_best_weights(tmp_path: Path, folders: Path) -> None:
    from audenoise.architectures.summary import build_checked
    from audenoise.specs import dump_spec, parse_spec

    run, page = run_folder(tmp_path / "run 1"), tmp_path / "page.html"
    spec = parse_spec(SPECS["dilated"], source="test")
    (run / "spec.yaml").write_text(dump_spec(spec))
    build_checked(spec).save_weights(run / "best.weights.h5")
    arguments = [
        str(run),
        str(folders / "noisy"),
        str(folders / "clean"),
        "--metrics",
        "si_sdr_db",
        "--jobs",
        "1",
    ]
    assert main(["report", *arguments, "--files", "2", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<th>audenoise run 1</th>" in text
    assert text.count('class="player"') == 3  # of three files two are worst, one is left to be best
    assert "<h2>Training</h2>" in text


def test_scores_of_an_evaluation_are_taken_as_they_are(tmp_path: Path, folders: Path) -> None:
    page, scores = tmp_path / "page.html", tmp_path / "scores.json"
    evaluation = Evaluation(
        tuple(PairInfo(f"{i}.wav", 2.0) for i in range(3)),
        (
            SystemScores("noisy", "noisy", 0.0, {f"{i}.wav": {"si_sdr_db": 1.0} for i in range(3)}),
            SystemScores("x", "model", 0.0, {f"{i}.wav": {"si_sdr_db": 7.25} for i in range(3)}),
        ),
        ("si_sdr_db",),
    )
    scores.write_text(json.dumps(evaluation.to_dict()))
    assert main(["report", str(folders / "half"), "--scores", str(scores), "-o", str(page)]) == 0
    assert "<td>7.25</td>" in page.read_text(encoding="utf-8")


def test_worst_is_what_gains_least(folders: Path) -> None:
    pairs, _ = find_pairs(folders / "noisy", folders / "clean")
    names = [pair.name for pair in pairs]

    def ranking(metric: str, after: list[float]) -> list[str]:
        before = {name: {metric: 1.0} for name in names}
        scores = {name: {metric: value} for name, value in zip(names, after, strict=True)}
        systems = (SystemScores("noisy", "noisy", 0.0, before), SystemScores("m", "model", 0.0, scores))
        evaluation = Evaluation(tuple(PairInfo(name, 2.0) for name in names), systems, (metric,))
        found, ranked = ranked_files(evaluation, model_of(evaluation), pairs)
        assert found == metric
        return [each.pair.name for each in ranked]

    assert ranking("si_sdr_db", [3.0, 9.0, 6.0]) == [names[1], names[2], names[0]]
    assert ranking("lsd", [3.0, 9.0, 6.0]) == [names[0], names[2], names[1]]  # less is better


def test_what_is_wrong_is_one_line(tmp_path: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert main(["report", "standard", "-o", str(page)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert page.read_text() == "mine"
    assert main(["report", "standard", "-o", str(tmp_path / "no" / "page.html")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "new.html")]) == 1
    assert "not a model folder" in capsys.readouterr().err
    run = run_folder(tmp_path / "run")
    RunState().write(run)
    (run / "log.csv").unlink()
    assert main(["report", str(run), "-o", str(tmp_path / "new.html")]) == 1
    assert "run: this run has not finished an epoch yet" in capsys.readouterr().err
    (run / "state.json").write_text("{")
    assert main(["report", str(run), "-o", str(tmp_path / "new.html")]) == 1
    assert "state.json: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "new.html").exists()
    (run / "log.csv").write_text("epoch,val_loss\nx,y\n0,nan\n")
    assert best_epoch_scores(run / "log.csv", 1) == []


def test_marks_in_what_is_filled_in_stay_as_they_are(tmp_path: Path) -> None:
    text = fill_page("audenoise.reports", "report", {"title": escaped("{{script}}"), "body": "{{nothing}}"})
    assert "<title>{{script}}</title>" in text
    write_text(tmp_path / "a.html", "a\r\nb", overwrite=False)
    assert (tmp_path / "a.html").read_bytes() == b"a\r\nb"
    with pytest.raises(AudenoiseError, match="exists already"):
        write_text(tmp_path / "a.html", "c", overwrite=False)


@needs_browser
def test_a_player_switches_between_recordings_that_play_at_once(tmp_path: Path, folders: Path) -> None:
    page_path = tmp_path / "page.html"
    arguments = [str(folders / "half"), str(folders / "noisy"), str(folders / "clean"), "--files", "1"]
    assert main(["report", *arguments, "--metrics", "snr_db", "--jobs", "1", "-o", str(page_path)]) == 0
    with browser() as chromium, visitor(chromium, page_path.as_uri(), width=375, height=740) as page:
        first = page.locator(".player").first
        first.locator("button.main").click()
        levels = []
        for side in (0, 1):
            first.locator(f"[data-side='{side}']").click()
            time.sleep(0.3)
            # Speech is uneven: a mean over the loop of two seconds.
            levels.append(np.mean([page.evaluate("heardLevel()") for _ in range(20) if not time.sleep(0.1)]))
        assert levels[0] / levels[1] == pytest.approx(4.0, rel=0.3)
        assert re.fullmatch(r"\d\.\d / 2\.0 s", first.locator(".time").inner_text())
        assert page.evaluate("document.documentElement.scrollWidth") == 375
