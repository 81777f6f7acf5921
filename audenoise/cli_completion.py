"""The command that prints what a shell needs to complete the others."""

import click
from click.shell_completion import get_completion_class

from audenoise.errors import AudenoiseError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that lets a shell complete commands, options and file names.

    Put what it prints where your shell reads it when it starts; it asks `audenoise` at every tab.

    \b
    Examples:
      audenoise completion bash > ~/.local/share/bash-completion/completions/audenoise
      echo 'eval "$(audenoise completion zsh)"' >> ~/.zshrc
      audenoise completion fish > ~/.config/fish/completions/audenoise.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise AudenoiseError(f"{shell}: this version of click completes nothing there; update click")
    root = click.get_current_context().find_root()
    click.echo(kind(root.command, {}, "audenoise", "_AUDENOISE_COMPLETE").source())
