"""The command that starts the web page."""

import importlib.util

import click

from audenoise.errors import AudenoiseError
from audenoise.interrupts import Terminated


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to bind. The default is this machine alone; 0.0.0.0 is every network that it is in. "
    "There is no password: whoever reaches the address can use the page.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    help="Port to bind; 0 takes any that is free.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Model to offer, the first being chosen to begin with; may be repeated.  "
    "[default: all that are bundled]",
)
@click.option(
    "--enhancer",
    metavar="NAME|FOLDER",
    help="Enhancer to offer, which gives back bandwidth and clipped peaks after denoising.  "
    "[default: the bundled one, if there is one]",
)
@click.option(
    "--max-upload-mb",
    type=click.FloatRange(min=0.001),
    default=200.0,
    show_default=True,
    metavar="MB",
    help="Largest recording, in MB of a million bytes.",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0.01),
    default=60.0,
    show_default=True,
    metavar="MINUTES",
    help="Longest recording.",
)
@click.option(
    "--max-files",
    type=click.IntRange(min=1, max=500),
    default=50,
    show_default=True,
    metavar="N",
    help="Recordings in one batch.",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1, max=64),
    default=1,
    show_default=True,
    metavar="N",
    help="Recordings denoised at a time, those of all visitors together.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1, max=10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="Recordings that may wait for their turn; more are refused.",
)
@click.option(
    "--keep-minutes",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="MINUTES",
    help="How long a recording and its result stay when nobody asks for them.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def app(
    host: str,
    port: int,
    models: tuple[str, ...],
    enhancer: str | None,
    max_upload_mb: float,
    max_minutes: float,
    max_files: int,
    at_once: int,
    max_waiting: int,
    keep_minutes: float,
    open_page: bool,
) -> None:
    """Denoise in the browser: drop or record, hear before and after, see the difference, download.

    The page is served by this machine, sends nothing anywhere else, and needs no network. Recordings are kept
    in a temporary folder, and removed when the page is closed, after --keep-minutes, and when the server ends
    with Ctrl-C. Needs `pip install audenoise[app]`.

    \b
    Examples:
      audenoise app --open
      audenoise app --enhancer models/mine
      audenoise app --host 0.0.0.0 --port 8080 --max-upload-mb 50 --max-minutes 10
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise AudenoiseError("the web page needs starlette and uvicorn: pip install 'audenoise[app]'")
    from audenoise.app import AppSettings, is_loopback, offered_enhancer, offered_models, serve

    settings = AppSettings(
        models=offered_models(models),
        enhancer=offered_enhancer(enhancer),
        max_upload_mb=max_upload_mb,
        max_minutes=max_minutes,
        max_files=max_files,
        at_once=at_once,
        max_waiting=max_waiting,
        keep_minutes=keep_minutes,
    )
    if not is_loopback(host):
        click.echo(f"audenoise: whoever reaches {host} can use the page; there is no password", err=True)

    def ready(address: str) -> None:
        click.echo(f"audenoise: {address} (Ctrl-C ends)", err=True)
        if open_page:
            click.launch(address)

    try:
        serve(settings, host=host, port=port, ready=ready)
    except Terminated:
        raise
    except KeyboardInterrupt:
        click.echo("audenoise: ended", err=True)
