"""The command line: each command parses, calls one function, prints. A command's module is imported when it is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper

import click

from preftune.errors import PreftuneError

_COMMANDS = {  # name: one line for the overview; the module of the same name holds the command `command`
    "check": "Say what is wrong with a preference file, offline.",
    "fix": "Write a mended copy of a preference file.",
    "convert": "Write pairs of any known layout in the hosted one.",
    "split": "Write a training and a validation file that share no prompt.",
    "sft": "Write the chosen answers as a supervised set.",
    "stats": "Print what a preference file holds: lengths, tokens, price.",
    "advise": "Say what to train with a preference file, and why.",
    "rehearse": "Say what a small model learns from the pairs, and what the knobs would do.",
    "explain": "Say what a configuration trains: the loss, and what its knobs imply.",
    "files": "Upload files, list, show, download and delete them.",
    "submit": "Check the pairs, say what is trained and what it costs, ask, and start the job.",
    "models": "List the models that can be tuned, and what each can be asked for.",
    "jobs": "List the fine-tuning jobs; with --mine, those that this machine asked for.",
    "show": "Show what a job was asked for, how far it has come, and why it ended.",
    "watch": "Show a job while it runs: its state, its curves, what they say so far.",
    "events": "List what has happened to a job.",
    "metrics": "Print, draw or save the metrics of a job.",
    "diagnose": "Say what the curves of a run say, and what to do.",
    "compare": "Compare jobs: their differences, their curves, the best checkpoint.",
    "report": "Write one page about a job that can be sent.",
    "cancel": "Cancel a job.",
    "checkpoints": "List the checkpoints of a job.",
    "download": "Download what a job trained.",
    "demo": "Check, SFT, DPO, live metrics, adapter: the whole product on this machine.",
    "serve": "Run the API on this machine, for scripts and notebooks that need no key.",
}
USAGE_ERROR, INTERRUPTED = 2, 130  # exit codes; 130 is what a shell gives for Ctrl-C


class _Lazy(click.Group):
    """A group that knows its commands' names and imports only the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"preftune.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt name is told the nearest one."""
        near = [] if args[0] in _COMMANDS else get_close_matches(args[0], _COMMANDS, n=1)
        if near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("preftune"), prog_name="preftune")
def cli() -> None:
    """Preference fine-tuning (DPO): check the pairs, try the whole product, serve the API on this machine."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 a sentence on standard error says why not, 130 interrupted."""
    _bear_any_text()
    try:
        code = cli.main(arguments, prog_name="preftune", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        code = USAGE_ERROR
    except (click.Abort, KeyboardInterrupt) as error:
        is_refused = isinstance(error, click.Abort) and error.__cause__ is None
        why = "not confirmed, so it was not done" if is_refused else "interrupted; nothing is left running"
        click.echo(f"preftune: {why}", err=True)
        code = INTERRUPTED
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        click.echo(f"preftune: {told}", err=True)
        code = USAGE_ERROR
    except PreftuneError as error:
        told = str(error).replace("client.fine_tuning.list()", "preftune jobs")  # what the library would have one call
        click.echo(f"preftune: {told}", err=True)
        code = USAGE_ERROR
    sys.exit(code)


def _bear_any_text() -> None:
    """Have what a terminal's or a pipe's encoding lacks, and names of files that are no text, shown as `?`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
