"""The students' commands: open the lessons, download what a profile needs, train a network."""

import argparse
import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import CourseError

if TYPE_CHECKING:
    from course_utils.settings import Settings

# Each command imports what it needs when it runs, so that `--help` does not wait for torch.


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lab = add_command(commands, "lab", _lab, "copy the notebooks to my_course and open them in JupyterLab")
    lab.add_argument("options", nargs="*", metavar="OPTION", help="options of JupyterLab, after --")
    fetch = add_command(
        commands, "fetch", _fetch, "download the images and weights of a profile, and verify them"
    )
    train = add_command(
        commands, "train", _train, "train a network; also under torchrun and accelerate launch"
    )
    train.add_argument("--part", default="head", metavar="PART", help='"head", "all", or a stage: layer4')
    train.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    for part in (fetch, train):
        add_parameters(part, "set a parameter; may be repeated")
    return run_command(parser, arguments)


def add_command(commands, name: str, work: Callable[[argparse.Namespace], int | None], text: str):
    """Add a command that `run_command` runs, and return its parser."""
    added = commands.add_parser(name, help=text)
    added.set_defaults(work=work)
    return added


def add_parameters(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the options --profile and -p, which `read_parameters` and `read_settings` read."""
    parser.add_argument("--profile", choices=["quick", "full"], default="quick")
    several = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    parser.add_argument("-p", dest="parameters", **several, help=text)


def run_command(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    """Run the command that the arguments name.

    Returns:
        0 if all went well, 1 if a lesson, a run or a submission failed, 2 if the command cannot be carried
        out, 130 after Ctrl-C.
    """
    options = parser.parse_args(arguments)
    try:
        return options.work(options) or 0
    except CourseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or 'Interrupted.'}", file=sys.stderr)
        return 130  # as a shell reports Ctrl-C


def read_parameters(options: argparse.Namespace) -> dict[str, object]:
    """Return the profile, and each parameter of the command line with its value."""
    return {"profile": options.profile, **{name: read_value(value) for name, value in options.parameters}}


def read_value(text: str) -> object:
    """Read a value from the command line: a number, True, False, None or, if it is none of these, a text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # "{[]}" is a TypeError
        return text


def read_settings(options: argparse.Namespace) -> "Settings":
    """Return the settings given on the command line. Raise `ConfigError` if one of them is wrong."""
    from course_utils.settings import Settings

    return Settings(**read_parameters(options))


def _train(options: argparse.Namespace) -> None:
    from course_utils.scale.run_folders import new_output_folder
    from course_utils.scale.train_command import summarise_run, train_run
    from course_utils.training.acceleration import run_on_main

    settings = read_settings(options)
    # One folder for all processes; each might read another time from its clock.
    output = (options.output or run_on_main(lambda: new_output_folder("train"))).resolve()
    facts = train_run(settings, output, options.part)
    if os.environ.get("RANK", "0") == "0":
        print(f"{summarise_run(facts)}\n{output / 'results.json'}")


def _fetch(options: argparse.Namespace) -> None:
    from torch.hub import get_dir

    from course_utils.data.splits import load_splits
    from course_utils.models.weights import backbone_weights, read_weights
    from course_utils.settings import downloads_folder

    settings = read_settings(options)
    load_splits(settings)
    weights = backbone_weights(settings)
    read_weights(weights)
    print(f"{settings.dataset} and {weights} are ready. Downloads: {downloads_folder()} and {get_dir()}")


def _lab(options: argparse.Namespace) -> None:
    from course_utils.notebook.lab import start_lab

    start_lab(options.options)


if __name__ == "__main__":
    sys.exit(main())
