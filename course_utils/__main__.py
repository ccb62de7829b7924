"""The command line: `python -m course_utils run` executes the lessons."""

import argparse
import sys
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.runs import (
    lesson_notebooks,
    new_output_folder,
    read_value,
    refresh_outputs,
    results_table,
    run_lessons,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 if all went well, 1 if a lesson failed, 2 if something was asked wrongly."""
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute the lessons and gather their results")
    run.add_argument("--profile", choices=["quick", "full"], default="quick")
    run.add_argument(
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
        command.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    options = parser.parse_args(arguments)
    try:
        notebooks = lesson_notebooks(options.only)
        if options.command == "refresh":
            output = (options.output or new_output_folder("refresh")).resolve()
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


if __name__ == "__main__":
    sys.exit(main())
