"""The command that denoises a microphone while it is heard."""

from pathlib import Path

import click

from audenoise.errors import AudenoiseError


@click.command()
@click.option("--list-devices", is_flag=True, help="List microphones and speakers with their numbers.")
@click.option(
    "--input",
    "source",
    metavar="NAME|NUMBER",
    help="Microphone: its number, name or part of the name.  [default: the system's]",
)
@click.option(
    "--output",
    "target",
    metavar="NAME|NUMBER",
    help="Speaker, or a virtual cable that another program listens to.  [default: the system's]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(min=1),
    metavar="HZ",
    help="Rate of both devices.  [default: the microphone's own]",
)
@click.option(
    "--block-ms",
    type=click.FloatRange(1.0, 500.0),
    default=8.0,
    show_default=True,
    metavar="MS",
    help="Audio handed over at a time, in milliseconds. Longer is safer on a busy machine, and later. "
    "4, 8 and 16 fit the standard model.",
)
@click.option(
    "--model",
    metavar="NAME|FOLDER",
    help="Bundled model (see `audenoise models list`), or path to a model folder.  [default: standard]",
)
@click.option(
    "--strength",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="How much of the denoised signal to take, from 0 (none) to 1.",
)
@click.option(
    "--max-attenuation-db",
    type=click.FloatRange(min=0.0),
    metavar="DB",
    help="Turn nothing down by more than this many decibels.  [default: no limit]",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what is heard to FILE (.wav, .flac, .ogg, .mp3); it appears at the end. Until then it is "
    "called NAME.unfinished-….wav, which stays and can be opened should the program be killed.",
)
@click.option("--overwrite", is_flag=True, help="Let --record replace an existing file.")
def live(
    list_devices: bool,
    source: str | None,
    target: str | None,
    sample_rate: int | None,
    block_ms: float,
    model: str | None,
    strength: float,
    max_attenuation_db: float | None,
    record: Path | None,
    overwrite: bool,
) -> None:
    """Denoise the microphone to the speaker while you talk. Use headphones, or it will howl.

    Space or b turns the denoiser off and on, q or Ctrl-C ends. The line that is drawn shows the levels in
    dBFS; xruns are samples that the sound card lost, late are blocks that were heard noisy because the
    denoiser had no time. Needs `pip install audenoise[live]`.

    \b
    Examples:
      audenoise live --list-devices
      audenoise live --input usb --output headphones --record talk.flac
    """
    from audenoise.live import describe_devices, find_sounddevice

    backend = find_sounddevice()
    if list_devices:
        click.echo(describe_devices(backend))
        return
    from audenoise.denoiser import Denoiser
    from audenoise.live import run_live, set_up

    # With two threads a block now and then takes twenty times as long: see benchmarks/latency.py.
    denoiser = Denoiser.from_preset(model, threads=1)
    setup = set_up(
        denoiser,
        backend,
        source=source,
        target=target,
        sample_rate=sample_rate,
        block_ms=block_ms,
        strength=strength,
        max_attenuation_db=max_attenuation_db,
    )
    _say(f"from {setup.source}")
    _say(f"to {setup.target}, {setup.engine.sample_rate} Hz")
    stated_s = setup.engine.delay_samples / setup.engine.sample_rate
    report = run_live(setup, backend, record=record, overwrite=overwrite, report=_say)
    counts = report.counts
    _say(
        f"{report.duration_s:.0f} s; sound card: {counts.input_overflows} input overflows, "
        f"{counts.output_underflows} output underflows; late: {counts.late_blocks} of {counts.blocks} blocks"
    )
    if report.delay_s > stated_s:
        _say(f"the sound card's blocks were not as asked; the delay rose to {1000 * report.delay_s:.0f} ms")
    if counts.skipped_samples or counts.bad_samples:
        _say(f"{counts.skipped_samples} samples skipped, {counts.bad_samples} were NaN or far too large")
    if report.unrecorded_samples:
        raise AudenoiseError(f"{record}: lacks {report.unrecorded_samples} samples, the disk was too slow")


def _say(line: str) -> None:
    click.echo(f"audenoise: {line}", err=True)
