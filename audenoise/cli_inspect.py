"""The command that looks into a saved dataset."""

from pathlib import Path

import click

_SHOWN = 10


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Where the picture of random mixtures goes.  [default: DATASET-inspect.png beside the dataset]",
)
@click.option(
    "--triples",
    type=click.IntRange(min=0, max=20),
    default=3,
    show_default=True,
    metavar="N",
    help="Mixtures in the picture; 0 draws none.",
)
@click.option(
    "--export",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write N random mixtures as wav files, each as noisy, clean and noise.  [default: none]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the wav files of --export: new or empty.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Chooses the mixtures."
)
@click.option("--strict", is_flag=True, help="Exit with 1 if anything is found.")
@click.option("--all", "show_all", is_flag=True, help=f"List all findings, not {_SHOWN} of each kind.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes that read.  [default: all cores]"
)
def inspect(
    dataset: Path,
    plot: Path | None,
    triples: int,
    export: int | None,
    out: Path | None,
    seed: int,
    strict: bool,
    show_all: bool,
    overwrite: bool,
    jobs: int | None,
) -> int:
    """Show what is inside a saved dataset, and find what is wrong with it.

    Every item is read. Found and named are: recordings or voices on both sides, silent and clipped items,
    duplicates, and items whose bytes are not those that were written. The exit code is 1 if something is
    damaged, and with --strict if anything is found.

    \b
    Examples:
      audenoise inspect dataset/
      audenoise inspect dataset/ --plot dataset.png --export 10 --out listen/ --strict
    """
    if (export is None) != (out is None):
        raise click.UsageError("--export and --out go together: how many mixtures, and where to.")
    if plot is not None and plot.suffix.lower() != ".png":
        raise click.UsageError(f"--plot writes .png files. Received: {plot}")

    from tqdm import tqdm

    from audenoise.datasets import DatasetInfo
    from audenoise.datasets.description import describe, export_triples, random_triples
    from audenoise.datasets.inspection import KINDS, inspect_items
    from audenoise.errors import DataError
    from audenoise.processors import cores

    info = DatasetInfo.read(dataset)
    if plot is not None and plot.exists() and not overwrite:
        raise DataError(f"{plot}: exists already; add --overwrite to replace it")
    for line in describe(info):
        click.echo(line)
    total = sum(side.items for side in info.sides.values())
    with tqdm(desc="reading", total=total, unit="item", disable=None, leave=False) as bar:
        findings = inspect_items(info, jobs=jobs or cores(), progress=bar.update)
    for kind, what in KINDS.items():
        lines = findings.lines[kind]
        click.echo(f"{what}: {len(lines) or 'none'}")
        for line in lines if show_all else lines[:_SHOWN]:
            click.echo(f"  {line}")
        if len(lines) > _SHOWN and not show_all:
            click.echo(f"  and {len(lines) - _SHOWN} more; --all lists them")
    # What is damaged can't be drawn or written.
    if not findings.lines["damaged"]:
        if triples:
            from audenoise.plotting import plot_triples

            picture = plot or dataset.resolve().parent / f"{dataset.resolve().name}-inspect.png"
            chosen = [triple.to_audio() for triple in random_triples(info, triples, seed)]
            plot_triples(chosen, info.stft.sample_rate, picture)
            click.echo(f"picture: {picture}")
        if export is not None and out is not None:
            written = export_triples(info, out, count=export, seed=seed)
            click.echo(f"{len(written)} recordings: {out}")
    return 1 if findings.lines["damaged"] or (strict and findings.total) else 0
