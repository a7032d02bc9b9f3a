"""The command line: a table of verbs, each imported only when it is called, and one place where errors are shown."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

from edgevision import __version__
from edgevision.errors import DependencyError, EdgevisionError
from edgevision.streams import discard, open_closed, tell, telling
from edgevision.text import printable

__all__ = ["cli", "explained", "main"]

#: Verb → where its command is, and its line of help (which would otherwise need the import).
VERBS = {
    "convert": (
        "edgevision.converters.cli:convert",
        "Turn a trained model into a bundle whose accuracy is proven.",
    ),
    "build": (
        "edgevision.converters.engine.cli:build",
        "Build a TensorRT engine of a bundle, for this device or for an RTX card.",
    ),
    "demo": (
        "edgevision.converters.demo.cli:demo",
        "See it all: convert, prove, run and measure a detector that comes with the package.",
    ),
    "run": (
        "edgevision.commands:run",
        "Run a model on a video, a folder of pictures or a synthetic source.",
    ),
    "bench": ("edgevision.benchmarks.cli:bench", "Measure latency and throughput on this machine."),
    "estimate": (
        "edgevision.benchmarks.estimate.cli:estimate",
        "Tell the least time and memory that a model can take on a device, which need not be there.",
    ),
    "compare": (
        "edgevision.benchmarks.compare.cli:compare",
        "Compare two benchmark records: slower, faster, or nothing that could be told from noise.",
    ),
    "inspect": ("edgevision.commands:inspect", "Show what a bundle or an ONNX file holds."),
    "verify": (
        "edgevision.commands:verify",
        "Check a bundle's hashes and its golden frames on this machine.",
    ),
    "targets": (
        "edgevision.commands:targets",
        "Show what is known of devices: INT8 scheme, rates, memory, and where the figures come from.",
    ),
    "doctor": (
        "edgevision.commands:doctor",
        "Check this machine: driver, libraries, power mode, cameras; with the command that mends it.",
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

    def invoke(self, ctx: click.Context) -> Any:
        # Click would turn these into exit statuses of its own, and forget which signal it was.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            tell("edgevision: interrupted")
            raise click.exceptions.Exit(int(getattr(error, "exit_code", 130))) from error
        except BrokenPipeError as error:
            discard(sys.stdout)
            raise click.exceptions.Exit(0) from error

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
    open_closed()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not debug:  # what a decoder has to say about a file is in our own error
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
    sys.exit(_run([a for a in arguments if a != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        result: Any = cli.main(arguments, prog_name="edgevision", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except EdgevisionError as error:
        _show(error, debug=debug)
        return error.exit_code
    except click.ClickException as error:
        with telling():
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("edgevision: interrupted")
        return 130
    except BrokenPipeError:  # the reader of stdout has gone (| head): no fault, and nobody to tell
        discard(sys.stdout)
        return 0
    except (MemoryError, ModuleNotFoundError, OSError) as error:
        known = explained(error)
        if known is None:
            raise
        _show(known.with_traceback(error.__traceback__), debug=debug)
        _settle_stdout()
        return known.exit_code


#: What to install when an import fails: the extra of the main job, and what else there may be.
_PACKAGES = {
    "cv2": "pip install 'edgevision[run]', or on Debian and Jetson: apt install python3-opencv",
    "onnx": "pip install 'edgevision[convert]', or on a Jetson, where OpenCV is there: pip install onnx",
    "onnxruntime": "pip install 'edgevision[run]', or on a Jetson, where OpenCV is there: pip install onnxruntime",
}


def explained(error: BaseException) -> EdgevisionError | None:
    """The foreign errors that can reach any verb, in our words; None for what is a fault of ours."""
    if isinstance(error, MemoryError):
        return EdgevisionError(
            "there is not enough memory", hint="a smaller --size or fewer --threads"
        )
    if isinstance(error, ModuleNotFoundError):
        name = str(error.name).partition(".")[0]
        if name not in _PACKAGES:
            return None
        return DependencyError(f"this needs {name}, which is not installed", hint=_PACKAGES[name])
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return EdgevisionError(f"{where}{error.strerror}", hint="check the path and the disk")
    return None


def _settle_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # it is what failed
        discard(sys.stdout)


def _show(error: EdgevisionError, *, debug: bool) -> None:
    if debug:
        with telling():
            sys.excepthook(type(error), error, error.__traceback__)
    # Messages quote what was received: no control character of it reaches the terminal.
    for number, line in enumerate(str(error).splitlines()):
        tell(("" if number else "edgevision: ") + printable(line, 2000))
