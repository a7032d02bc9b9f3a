"""The command line: a table of verbs, each imported only when it is called, and one place where errors are shown."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from edgevision import __version__
from edgevision.errors import EdgevisionError

__all__ = ["cli", "main"]

#: Verb → where its command is, and its line of help (which would otherwise need the import).
VERBS = {
    "convert": (
        "edgevision.converters.cli:convert",
        "Turn a trained model into a bundle whose accuracy is proven.",
    ),
    "run": (
        "edgevision.commands:run",
        "Run a model on a video, a folder of pictures or a synthetic source.",
    ),
    "bench": ("edgevision.benchmarks.cli:bench", "Measure latency and throughput on this machine."),
    "inspect": ("edgevision.commands:inspect", "Show what a bundle or an ONNX file holds."),
    "verify": (
        "edgevision.commands:verify",
        "Check a bundle's hashes and its golden frames on this machine.",
    ),
}


class _Verbs(click.Group):
    """A group whose commands are in `VERBS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edgevision")
@click.option(
    "--debug", is_flag=True, help="Show the traceback of an error; works after the verb too."
)
def cli(debug: bool) -> None:
    """Take a trained vision model to an edge device: convert, prove, run, measure."""
    del debug  # main() takes it out of the arguments, wherever it stands


def main(arguments: list[str] | None = None) -> None:
    """The console script. Exit: 0 done, 1 failed, 2 usage, 3 a gate was not met, 130/143 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    sys.exit(_run([a for a in arguments if a != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        result: Any = cli.main(arguments, prog_name="edgevision", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EdgevisionError as error:
        _show(error, debug=debug)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        click.echo("edgevision: interrupted", err=True)
        return int(getattr(error, "exit_code", 130))
    except BrokenPipeError:  # the reader of stdout has gone (| head): no fault, and nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        _show(
            EdgevisionError(
                "there is not enough memory", hint="a smaller --size or fewer --threads"
            ),
            debug=debug,
        )
        return _traced(error, debug=debug)


def _traced(error: BaseException, *, debug: bool) -> int:
    if debug:
        raise error
    return 1


def _show(error: EdgevisionError, *, debug: bool) -> None:
    if debug:
        sys.excepthook(type(error), error, error.__traceback__)
    click.echo(f"edgevision: {error}", err=True)
