"""What the help says about every command, and the completion of shells."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audenoise.cli import cli, main

# What the name of an option means for the unit that its help must state.
UNITS = {
    r"-hz$|sample-rate": r"\bHz\b|\bHZ\b",
    r"-ms$": r"millisecond",
    r"-db$": r"decibel|\bdB\b",
    r"-mb$": r"\bMB\b",
    r"minutes": r"(?i)minutes",
    r"hours": r"(?i)hours",
    r"seconds|duration|^--wait|lost-after": r"(?i)seconds",
    r"n-fft|hop-length|win-length": r"samples",
}
# These belong to a spec, which the help names.
FROM_THE_SPEC = re.compile(r"Overrides \w+\.\w+")


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for key, each in command.commands.items():
            yield from commands(each, f"{name} {key}")


COMMANDS = dict(commands(cli, "audenoise"))


def missing_in_help(name: str, command: click.Command) -> list[str]:
    """Return what a person would look for in the help of a command and not find."""
    found = []
    text = command.help or ""
    if not isinstance(command, click.Group):
        examples = text.partition("Example")[2].splitlines()
        # The first command of a group can be called by the group's name, as in `audenoise tune --space ...`.
        names = {name, name.rpartition(" ")[0]} - {"audenoise"}
        if not any(f"{each} " in f"{line} " for line in examples for each in names):
            found.append(f"{name}: no example that calls it")
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        where, words = f"{name} {option.opts[-1]}", option.help or ""
        if len(words) < 5:
            found.append(f"{where}: no help")
        numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
        told = option.show_default or option.required or "default" in words or FROM_THE_SPEC.search(words)
        if numeric and not told:
            found.append(f"{where}: no default")
        for pattern, unit in UNITS.items():
            if re.search(pattern, option.opts[0]) and not re.search(unit, f"{option.metavar} {words}"):
                found.append(f"{where}: no unit")
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_units_and_defaults(name: str) -> None:
    assert missing_in_help(name, COMMANDS[name]) == []


@pytest.mark.parametrize("name", ["train-enhancer", "pretrain"])
def test_what_has_no_option_for_precision_and_devices_says_what_it_uses(name: str) -> None:
    command = COMMANDS[f"audenoise {name}"]
    options = {each for option in command.params for each in option.opts}
    stated = "one device, in float32" in " ".join((command.help or "").split())
    assert stated is not bool(options & {"--precision", "--devices"})


def test_the_help_of_amount_says_what_0_leaves_with_and_without_the_denoiser() -> None:
    (amount,) = (each for each in COMMANDS["audenoise enhance"].params if each.name == "amount")
    assert "0 leaves the denoised one, with --no-denoise the recording" in getattr(amount, "help", "")


def test_what_is_missing_in_help_is_found() -> None:
    @click.command()
    @click.option("--min-duration", type=float, help="Shorter ones are left out.")
    @click.option("--jobs", type=click.IntRange(min=1), help="Processes.")
    @click.option("--name")
    def bare(min_duration: float, jobs: int, name: str) -> None:
        """Do it. For example, somehow."""

    assert missing_in_help("audenoise bare", bare) == [
        "audenoise bare: no example that calls it",
        "audenoise bare --min-duration: no default",
        "audenoise bare --min-duration: no unit",
        "audenoise bare --jobs: no default",
        "audenoise bare --name: no help",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_takes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_AUDENOISE_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_completion_knows_commands_and_options() -> None:
    def complete(line: str, word: int) -> list[str]:
        asked = {"_AUDENOISE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(word)}
        run = subprocess.run(
            [sys.executable, "-m", "audenoise"], env=asked, capture_output=True, text=True, check=True
        )
        return [each.partition(",")[2] for each in run.stdout.splitlines()]

    assert complete("audenoise pre", 1)[:1] == ["predict"]
    assert "--max-attenuation-db" in complete("audenoise predict --", 2)
    assert complete("audenoise completion f", 2) == ["fish"]


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err


def test_commands_of_models_are_listed_from_the_first_to_the_last_that_one_needs(capsys) -> None:
    with pytest.raises(SystemExit):
        cli(["models", "--help"])
    listed = capsys.readouterr().out.partition("Commands:")[2].split()
    assert [word for word in listed if word in ("list", "show", "check")][:3] == ["list", "show", "check"]


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("talk.wav", "Denoise it by `audenoise predict talk.wav -o CLEAN`"),
        ("folder", "Denoise it by `audenoise predict folder -o FOLDER`"),
        ("denoise", "Is `predict` meant?"),
        ("evalute", "Is `evaluate` meant?"),
        ("xyzzy", "No such command 'xyzzy'. See `audenoise --help`."),
    ],
)
def test_what_is_no_command_is_told_what_is_meant(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    first: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.wav").touch()
    Path("folder").mkdir()
    assert main([first]) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert len(printed.splitlines()) == 1
