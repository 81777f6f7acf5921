"""Commands that make and look at datasets."""

from pathlib import Path
from typing import Any

import click

from audenoise.errors import DataError

_FOLDERS: dict[str, Any] = {
    "multiple": True,
    "type": click.Path(exists=True, path_type=Path),
    "metavar": "DIR",
}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


_OF_MIXTURES = ("snr_db", "noise_ratio", "degrade", "mixtures", "level_dbfs")


@click.command("build-dataset")
@click.option("--clean", help="Clean speech, searched recursively; may be given again.", **_FOLDERS)
@click.option("--noise", help="Noise, searched recursively; may be given again.", **_FOLDERS)
@click.option(
    "--pairs",
    type=click.Path(exists=True, path_type=Path),
    metavar="CSV|DIR",
    help="Parallel recordings in place of --clean and --noise: a CSV with columns noisy and clean (and side, "
    "speaker, label if wanted), or a folder such as VoiceBank+DEMAND's, with noisy_... beside clean_...",
)
@click.option(
    "--noisy",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Noisy recordings named as the clean ones in --clean, in place of --noise.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the dataset: new, empty, or that of an interrupted build, which is continued.",
)
@click.option(
    "--snr-db",
    metavar="A:B",
    help="Signal-to-noise ratio over active speech in dB, a number or a range.  [default: -5:20]",
)
@click.option(
    "--noise-ratio",
    metavar="A-B",
    help="In place of an SNR: noisy = r·noise + (1 - r)·clean, r from 0 to 1, a number or a range: 0.2-0.8.",
)
@click.option("--spec", metavar="FILE|NAME", help="Take sample rate and STFT from a model's spec or recipe.")
@click.option(
    "--spec-mixing",
    is_flag=True,
    help="Take --spec's mixing section too: SNR, levels, rooms, degradations.",
)
@click.option("--sample-rate", type=click.IntRange(4000, 192_000), help="In Hz.  [default: 16000]")
@click.option("--n-fft", type=click.IntRange(16, 16_384), help="FFT length in samples.  [default: 512]")
@click.option("--hop-length", type=click.IntRange(min=1), help="In samples.  [default: 256]")
@click.option("--win-length", type=click.IntRange(min=2), help="In samples.  [default: n_fft]")
@click.option(
    "--window",
    type=click.Choice(["sqrt_hann", "hann", "hamming", "blackman", "rectangular"]),
    help="[default: sqrt_hann]",
)
@click.option(
    "--mixtures",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of each clean recording, each with another noise.  [default: 1, or what --hours needs]",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Hours of mixtures in all.  [default: all there is]",
)
@click.option(
    "--max-duration",
    "max_duration_s",
    type=click.FloatRange(0.1, 600),
    metavar="S",
    help="Longer recordings are cut into pieces of at most so many seconds.  [default: 10]",
)
@click.option(
    "--min-duration",
    "min_duration_s",
    type=click.FloatRange(0, 600),
    metavar="S",
    help="Recordings of fewer seconds are left out.  [default: 0.5]",
)
@click.option(
    "--noise-class",
    "noise_classes",
    multiple=True,
    metavar="NAME",
    help="Take this class of noise only; may be given again. A class is the first folder below --noise's, or "
    "what the corpus' names or --noise-labels say.",
)
@click.option(
    "--no-noise-class", "without_noise_classes", multiple=True, metavar="NAME", help="Leave this class out."
)
@click.option(
    "--noise-labels",
    type=_FILE,
    metavar="CSV",
    help="Class of each noise: columns filename (a name, or a path below --noise's) and category, as in "
    "ESC-50's meta/esc50.csv, which is found by itself.",
)
@click.option("--rir", help="Room impulse responses; half of the speech is put in a room.", **_FOLDERS)
@click.option(
    "--degrade",
    multiple=True,
    metavar="NAME=P",
    help="Degrade with probability P; may be given again: reverb, speed, equalise, band_limit, clip, "
    "modulate, second_noise, coloured_noise, synthetic_noise, babble, clean_only, noise_only.",
)
@click.option(
    "--level-dbfs", metavar="A:B", help="RMS level of the mixtures.  [default: as speech is recorded]"
)
@click.option(
    "--test-split",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Of the clean speech and of the noise that goes to OUT/test; 0 for none.  [default: 0.1]",
)
@click.option(
    "--split-by",
    type=click.Choice(["auto", "speaker", "recording"]),
    help="Keep a voice on one side, or only a recording.  [default: auto, speaker where one is known]",
)
@click.option(
    "--speakers",
    metavar="RULE",
    help="Who speaks: folder or folder:N (Nth folder below --clean's), a CSV (filename, speaker), or a "
    "regular expression whose group is the speaker.  [default: LibriSpeech, VoiceBank and DNS by name]",
)
@click.option("--test-clean", help="Clean speech for OUT/test, in place of --test-split.", **_FOLDERS)
@click.option("--test-noise", help="Noise for OUT/test, beside --test-clean.", **_FOLDERS)
@click.option(
    "--layout",
    type=click.Choice(["auto", "plain", "librispeech", "voicebank", "demand", "esc50", "musan", "dns"]),
    help="Corpus whose file names tell speaker and class.  [default: auto]",
)
@click.option("--align", is_flag=True, help="Take constant delays out of pairs in place of skipping these.")
@click.option(
    "--strict", is_flag=True, help="Fail at the first file that can't be used, in place of skipping it."
)
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same dataset.  [default: 0]")
@click.option(
    "--shard-mb", type=click.FloatRange(0.1, 4096), help="Size of a shard in MB, about.  [default: 64]"
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: all cores]")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Work on the cores of a Ray cluster: HOST:PORT, auto for one that runs here, or local for one on "
    "127.0.0.1 for the time of the work. Needs 'audenoise[cluster]', and the same paths on all machines.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
def build_dataset(
    clean: tuple[Path, ...],
    noise: tuple[Path, ...],
    pairs: Path | None,
    noisy: Path | None,
    out: Path,
    spec: str | None,
    spec_mixing: bool,
    rir: tuple[Path, ...],
    test_clean: tuple[Path, ...],
    test_noise: tuple[Path, ...],
    noise_labels: Path | None,
    jobs: int | None,
    ray: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Build a dataset of (noisy, clean) spectrogram pairs from folders of recordings.

    OUT/train and OUT/test are for tf.data.Dataset.load; OUT/dataset.json says what they hold. Recordings are
    wav, flac, ogg or mp3 of any rate and channel count. Files that can't be used are skipped and named.
    Interrupted at any moment, the same command continues.

    \b
    Examples:
      audenoise build-dataset --clean speech/ --noise noises/ --out set/
      audenoise build-dataset --clean speech/ --noise noises/ --out set/ --noise-ratio 0.2-0.8 --mixtures 4
      audenoise build-dataset --pairs VoiceBank-DEMAND/ --out set/ --sample-rate 16000
    """
    from audenoise.datasets.building import build_dataset as build
    from audenoise.sources.inputs import Inputs
    from audenoise.sources.requests import spec_from_options

    if spec_mixing and not spec:
        raise click.UsageError("--spec-mixing needs --spec.")
    if options["snr_db"] is not None and options["noise_ratio"] is not None:
        raise click.UsageError("--snr-db and --noise-ratio exclude each other.")
    if pairs or noisy:
        given = [f"--{name.replace('_', '-')}" for name in _OF_MIXTURES if options[name]]
        if given := given + ["--spec-mixing"] * spec_mixing:
            raise DataError(
                f"pairs are mixed already; leave out what is of no use with them: {', '.join(given)}"
            )
    elif options["align"]:
        raise DataError("--align is for recordings given with --pairs or --noisy")
    inputs = Inputs(clean, noise, rir, test_clean, test_noise, pairs, noisy, noise_labels)
    build(
        out,
        inputs,
        spec_from_options(spec, use_mixing=spec_mixing, has_responses=bool(rir), options=options),
        jobs=jobs,
        ray=ray,
        report=(lambda line: None) if quiet else (lambda line: click.echo(f"audenoise: {line}", err=True)),
        progress=not quiet,
    )
