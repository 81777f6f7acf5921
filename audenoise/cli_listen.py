"""The commands that make and score listening tests."""

from pathlib import Path

import click

from audenoise.html_pages import check_target, write_text


class _PageByDefault(click.Group):
    """`listen A B -o PAGE` is `listen page A B -o PAGE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not {"-h", "--help"} & set(args):
            args = ["page", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_PageByDefault)
def listen() -> None:
    """Find out what people hear: make a listening test, and score the answers.

    `audenoise listen CONDITIONS... -o PAGE.html` is short for `audenoise listen page`.

    \b
    Examples:
      audenoise listen noisy/ denoised/ clean/ --reference clean -o test.html
      audenoise listen score answers-*.json --plot scores.png
    """


@listen.command()
@click.argument("conditions", nargs=-1, required=True, metavar="[NAME=]FOLDER...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PAGE.html",
    help="The page: one file with everything in it, to be opened from a disk or put on any server.",
)
@click.option(
    "--kind",
    type=click.Choice(["mushra", "abx"]),
    default="mushra",
    show_default=True,
    help="mushra: rate every condition from 0 to 100 beside the reference (ITU-R BS.1534), which is hidden "
    "among them, with the anchor. abx: tell which of two conditions X is, for every pair of them.",
)
@click.option(
    "--reference", metavar="NAME", help="Condition that the others are rated against; needed for mushra."
)
@click.option(
    "--anchor-hz",
    type=click.FloatRange(min=0.0),
    default=3500.0,
    show_default=True,
    metavar="HZ",
    help="The hidden anchor of mushra is the reference without what is above this; 0 leaves it out.",
)
@click.option(
    "--recordings",
    type=click.IntRange(min=1, max=200),
    default=10,
    show_default=True,
    metavar="N",
    help="Recordings at most, drawn by --seed from those that every condition has.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 60.0),
    default=8.0,
    show_default=True,
    metavar="S",
    help="Longest excerpt in seconds, taken where the reference (or else the first condition) is loudest.",
)
@click.option("--title", default="Listening test", show_default=True, help="Headline of the page.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the recordings."
)
@click.option("--overwrite", is_flag=True, help="Replace PAGE.html if it exists.")
def page(
    conditions: tuple[str, ...],
    output: Path,
    kind: str,
    reference: str | None,
    anchor_hz: float,
    recordings: int,
    seconds: float,
    title: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Make the page of a listening test.

    Each FOLDER holds the same recordings, matched by name without suffix, under one condition; its name is
    the folder's unless NAME is given. Excerpts are set to equal loudness (ITU-R BS.1770). The order of
    questions and of conditions is drawn anew for every listener, who hears them without names, and downloads
    the answers as JSON at the end.

    \b
    Example: audenoise listen noisy/ model=denoised/ clean/ --reference clean -o test.html
    """
    check_target(output, overwrite=overwrite)
    from audenoise.errors import DataError
    from audenoise.listening import MUSHRA, common_names, make_trial, read_conditions, write_page

    chosen = read_conditions(conditions)
    names = [condition.name for condition in chosen]
    if kind == MUSHRA and reference is None:
        raise DataError(f"a MUSHRA test needs --reference: one of {', '.join(names)}; --kind abx needs none")
    if reference is not None and reference not in names:
        raise DataError(f"--reference {reference}: no such condition, only {', '.join(names)}")
    found = common_names(chosen, most=recordings, seed=seed)
    trials = [
        make_trial(
            name,
            chosen,
            seconds=seconds,
            reference=reference,
            anchor_hz=anchor_hz if kind == MUSHRA and anchor_hz else None,
        )
        for name in found
    ]
    write_page(output, trials, kind=kind, reference=reference, title=title, overwrite=overwrite)
    lowest = min(trial.loudness_lufs for trial in trials)
    click.echo(
        f"audenoise: {output}: {len(trials)} recordings, {len(trials[0].stimuli)} conditions, "
        f"{output.stat().st_size / 1e6:.1f} MB, at {lowest:.1f} LUFS or more",
        err=True,
    )


@listen.command()
@click.argument(
    "answers", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ANSWERS.json..."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Draw the scores with their intervals.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the scores.",
)
@click.option(
    "--keep-all",
    is_flag=True,
    help="Count also listeners who rated the hidden reference below 90 in more than 15 % of the trials.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing results.")
def score(
    answers: tuple[Path, ...], plot: Path | None, json_path: Path | None, keep_all: bool, overwrite: bool
) -> None:
    """Sum up the answers of listeners: means, or shares of right answers, with 95 % confidence intervals.

    Intervals of MUSHRA scores are Student's over listeners, those of ABX are Clopper and Pearson's over
    questions.

    \b
    Example: audenoise listen score answers-*.json --plot scores.png
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise click.UsageError(f"--plot writes .png files. Received: {plot}")
    for path in filter(None, (plot, json_path)):
        check_target(path, overwrite=overwrite)
    import json

    from audenoise.listening import read_answers, save_picture, score_answers, table

    result = score_answers(read_answers(answers), keep_all=keep_all)
    click.echo(table(result), nl=False)
    if json_path:
        write_text(json_path, json.dumps(result.to_dict(), indent=1) + "\n", overwrite=overwrite)
    if plot:
        save_picture(result, plot)
