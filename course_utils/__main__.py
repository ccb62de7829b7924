"""The command line: `run` executes the lessons, `fetch` downloads beforehand what they need, `features`
shows what is kept between runs."""

import argparse
import os
import sys
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.runs import (
    lesson_notebooks,
    new_output_folder,
    read_value,
    refresh_outputs,
    results_table,
    run_folder,
    run_lessons,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 if all went well, 1 if a lesson failed, 2 if something was asked wrongly."""
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute the lessons and gather their results")
    fetch = commands.add_parser("fetch", help="download and verify the images and weights of a profile")
    for command in (run, fetch):
        command.add_argument("--profile", choices=["quick", "full"], default="quick")
        command.add_argument(
            "-p",
            dest="parameters",
            nargs=2,
            action="append",
            default=[],
            metavar=("NAME", "VALUE"),
            help="a parameter for every lesson that has it; may be repeated",
        )
    refresh = commands.add_parser(
        "refresh", help="run the lessons and store their outputs in notebooks/ (for maintainers)"
    )
    for command in (run, refresh):
        command.add_argument("--only", nargs="+", default=[], metavar="NUMBER", help="for example 04 05")
        place = command.add_mutually_exclusive_group()
        place.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
        place.add_argument("--name", help="the name of that folder in runs/, instead of the time")
    features = commands.add_parser("features", help="show the features that are kept between runs")
    features.add_argument("--clear", action="store_true", help="remove them")
    options = parser.parse_args(arguments)
    try:
        if options.command == "features":
            return _features(options.clear)
        if options.command == "fetch":
            return _fetch(options.profile, options.parameters)
        notebooks = lesson_notebooks(options.only)
        if options.name is not None:
            options.output = run_folder(options.name)
        if options.command == "refresh":
            output = (options.output or new_output_folder("refresh")).resolve()
            os.environ["COURSE_FEATURES_GB"] = "0"  # what is stored are the times of a first run
            runs = refresh_outputs(notebooks, output)
        else:
            output = (options.output or new_output_folder(options.profile)).resolve()
            parameters = {name: read_value(value) for name, value in options.parameters}
            runs = run_lessons(notebooks, {"profile": options.profile, **parameters}, output)
    except CourseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"\n{results_table(runs)}\n\nExecuted notebooks and results.json: {output}")
    return 0 if all(run.status == "ok" for run in runs) else 1


def _features(clear: bool) -> int:
    from course_utils.feature_store import list_store, make_room, store_folder, store_limit

    limit = store_limit()
    if clear:
        removed = make_room(-1)
        print(f"removed {len(removed)} files, {sum(file.size for file in removed) / 1e6:.1f} MB")
    kept = list_store()
    size = sum(file.size for file in kept) / 1e6
    print(f"{store_folder()}: {len(kept)} files, {size:.1f} MB of {limit / 1e6:.0f} MB")
    return 0


def _fetch(profile: str, parameters: list[list[str]]) -> int:
    # Imported here: torch takes seconds, which the other commands leave to the lessons.
    from course_utils.archives import files_table
    from course_utils.data import fetch_images
    from course_utils.settings import Settings
    from course_utils.weights import fetch_weights

    settings = Settings(**{"profile": profile, **{name: read_value(value) for name, value in parameters}})
    rows, errors = [], []
    for fetch in (fetch_images, fetch_weights):
        try:
            rows += fetch(settings)
        except CourseError as error:
            errors.append(f"{type(error).__name__}: {error}")
    if rows:
        print(files_table(rows))
    print(*errors, sep="\n", file=sys.stderr, end="\n" if errors else "")
    return 2 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
