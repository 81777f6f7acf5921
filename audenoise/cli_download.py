"""The command that gets openly licensed corpora."""

import sys
from pathlib import Path

import click

from audenoise.errors import DownloadError

_DEFAULT_OUT = Path("corpora")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=_DEFAULT_OUT,
    show_default=True,
    metavar="DIR",
    help="Where the folder NAME is made.",
)
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    help="Get this zip or tar archive as NAME; given again, another host of the same file.",
)
@click.option("--sha256", metavar="HEX", help="What the file at --url must hash to.")
@click.option("--md5", metavar="HEX", help="The same as an MD5, where nothing better is published.")
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="YAML of your own in the form of audenoise/downloads/corpora.yaml.",
)
@click.option("--keep-archives", is_flag=True, help="Leave the archives in DIR/NAME.archives.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no lines but errors.")
def download(
    names: tuple[str, ...],
    out: Path,
    urls: tuple[str, ...],
    sha256: str | None,
    md5: str | None,
    catalogue: Path | None,
    keep_archives: bool,
    quiet: bool,
) -> None:
    """Download corpora of speech, noise, room responses or pairs; `download list` shows which.

    Files are checked against their checksums, unpacked, and appear as DIR/NAME when they are complete. An
    interrupted download continues when the command is run again. Licences are the corpora's own: `list` and
    the finished folder state them, some forbid commercial use.

    \b
    Examples:
      audenoise download list
      audenoise download librispeech-dev-clean esc-50 --out corpora
      audenoise download my-noises --url https://example.org/noises.zip --sha256 0f3a…
    """
    from audenoise.downloads import download_corpus, own_corpus, read_catalogue

    if (sha256 or md5) and not urls:
        raise click.UsageError("--sha256 and --md5 belong to --url.")
    if urls:
        if len(names) != 1 or catalogue or names[0] == "list":
            raise click.UsageError("--url takes one NAME, which is the folder's, and no --catalogue.")
        wanted = [own_corpus(names[0], urls, sha256=sha256, md5=md5)]
    else:
        known = read_catalogue(catalogue)
        if names == ("list",):
            _list(known)
            return
        if unknown := [name for name in names if name not in known]:
            raise DownloadError(
                f"{unknown[0]}: not in the catalogue; known: {', '.join(known)}; or give --url"
            )
        wanted = [known[name] for name in dict.fromkeys(names)]
    for corpus in wanted:
        download_corpus(
            corpus,
            out,
            keep_archives=keep_archives,
            progress=not quiet and sys.stderr.isatty(),
            report=None if quiet else lambda line: click.echo(f"audenoise: {line}", err=True),
        )


def _list(corpora: dict) -> None:
    width = max(map(len, corpora))
    for name, corpus in corpora.items():
        size = f"{corpus.size / 1e9:.2f} GB" if corpus.size else "size unknown"
        click.echo(f"{name:<{width}}  {corpus.kind:<6}  {size:>9}  {corpus.licence}")
        click.echo(f"{'':<{width}}  {corpus.title}. {corpus.homepage or ''}".rstrip())
