"""The command that teaches a shell to complete the others."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cloudfree.cli.group import main

COMPLETION_EXAMPLES = """
\b
Examples, each for all shells to come:
  cloudfree completion bash > ~/.local/share/bash-completion/completions/cloudfree
  cloudfree completion zsh > ~/.zfunc/_cloudfree    # where fpath holds ~/.zfunc
  cloudfree completion fish > ~/.config/fish/completions/cloudfree.fish

\b
For this shell alone:
  source <(cloudfree completion bash)
"""


@main.command("completion", epilog=COMPLETION_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script with which a shell completes commands, options and files after TAB."""
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    click.echo(kind(main, {}, "cloudfree", "_CLOUDFREE_COMPLETE").source())
