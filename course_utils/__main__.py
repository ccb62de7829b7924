"""The command line of those who teach with the course: see docs/instructors.md."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import ConfigError, CourseError

if TYPE_CHECKING:
    from course_utils.settings import Settings

# Each command imports what it needs when it runs, so that `--help` does not wait for torch.


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 if all went well, 1 if a lesson, a run or a submission failed, 2 if a command cannot be carried out
        as it is given, 130 at Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.work(options) or 0
    except CourseError as error:
        _print_error(error)
        return 2
    except ModuleNotFoundError as error:
        _print_error(_missing_package(error))
        return 2
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or 'Interrupted.'}", file=sys.stderr)
        return 130  # as a shell reports Ctrl-C


def _print_error(error: CourseError) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)


def _missing_package(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        "A package that this command needs is not installed.",
        where=sys.executable,
        expected="the packages of the course, in this Python",
        found=error,
        do="Run `pip install -e .` in the course's folder; instructors, `pip install -r requirements.txt`.",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, work: Callable[[argparse.Namespace], int | None], text: str):
        added = commands.add_parser(name, help=text)
        added.set_defaults(work=work)
        return added

    run = command("run", _run, "execute the lessons and gather their results")
    text = "end a cell that takes longer; default: no limit"
    run.add_argument("--seconds-per-cell", type=int, metavar="N", help=text)
    fetch = command("fetch", _fetch, "have the images and weights of a profile here, and verify them")
    refresh = command("refresh", _refresh, "run the lessons and store their outputs (for maintainers)")
    train = command("train", _train, "train a network; also under torchrun and accelerate launch")
    train.add_argument("--part", default="head", metavar="PART", help='"head", "all", or a stage: layer4')
    train.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    for part in (run, fetch, train):
        part.add_argument("--profile", choices=["quick", "full"], default="quick")
        several = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
        text = "a parameter, for the runner of every lesson that has it; may be repeated"
        part.add_argument("-p", dest="parameters", **several, help=text)
    slides = command("slides", _slides, "make slides from the lessons as they are stored")
    slides.add_argument("--output", type=Path, required=True, metavar="DIR")
    text = "with reveal.js, which is laid beside the slides; default: they load it from the network"
    slides.add_argument("--reveal", type=Path, metavar="FOLDER", help=text)
    for part in (run, refresh, slides):
        part.add_argument("--only", nargs="+", default=[], metavar="NUMBER", help="for example 04 05")
    for part in (run, refresh):
        place = part.add_mutually_exclusive_group()
        place.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
        place.add_argument("--name", help="the name of that folder in runs/, instead of the time")
    lab = command("lab", _lab, "copy the notebooks to my_course and open them in JupyterLab")
    lab.add_argument("options", nargs="*", metavar="OPTION", help="JupyterLab's own, after --")
    command("exercises", _exercises, "make the students' exercises from the solutions (for maintainers)")
    quiz = command("quiz", _quiz, "write the lessons' quizzes for a learning platform: QTI and Moodle's GIFT")
    quiz.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    grade = command("grade", _grade, "run and grade what students handed in")
    text = "one folder a student, or one zip"
    grade.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help=text)
    grade.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    grade.add_argument("--solutions", type=Path, metavar="FOLDER", help="default: those of the course")
    chosen = {"nargs": "+", "default": [], "metavar": "LESSON"}
    grade.add_argument("--lesson", dest="lessons", **chosen, help="name or number; default: all")
    grade.add_argument("--seconds", type=float, default=300, help="for each notebook")
    grade.add_argument("--memory-gb", type=float, default=4, help="for each notebook")
    grade.add_argument("--workers", type=int, default=2, help="notebooks at the same time")
    grade.add_argument("--roster", type=Path, metavar="CSV", help="the class, as the platform exports it")
    text = "what the marks are for; default: csv"
    grade.add_argument("--format", choices=["moodle", "canvas", "csv"], default="csv", help=text)
    text = "to_mark.csv with the levels that somebody has filled in; may be several"
    grade.add_argument("--marked", type=Path, nargs="+", default=[], metavar="CSV", help=text)
    engines = ["docker", "podman", "bwrap", "none"]
    grade.add_argument("--engine", choices=engines, help="what shuts them in; default: the best here")
    grade.add_argument("--image", help="for docker and podman; default: $COURSE_GRADING_IMAGE")
    sweep = command("sweep", _sweep, "run one lesson with every combination of a grid")
    sweep.add_argument("notebook", type=Path)
    sweep.add_argument("--grid", type=Path, required=True, metavar="FILE", help="YAML: names and values")
    sweep.add_argument("--output", type=Path, metavar="DIR", help="default: runs/sweep_NOTEBOOK")
    sweep.add_argument("--workers", type=int, help="default: one for each core")
    students = command("students-repository", _students_repository, "make a repository without solutions")
    students.add_argument("name", metavar="OWNER/NAME", help="on GitHub, where it will be")
    students.add_argument("folder", type=Path, metavar="FOLDER", help="a new one")
    students.add_argument("--ref", default="", metavar="TAG", help="a tag that it gets, for its links")
    address = command("set-repository", _set_repository, "write the course's address wherever it is repeated")
    address.add_argument("name", metavar="OWNER/NAME", help='on GitHub; "" takes it away')
    address.add_argument("--ref", default="", metavar="TAG", help="where links lead; default: what is newest")
    return parser


def _run(options: argparse.Namespace) -> int:
    from course_utils.teaching import run_lessons

    _settings(options)  # which says what is wrong with a value before a lesson is looked at
    notebooks, output = _lessons_and_folder(options, options.profile)
    runs = run_lessons(notebooks, _parameters(options), output, options.seconds_per_cell)
    return _report(runs, output)


def _refresh(options: argparse.Namespace) -> int:
    from course_utils.teaching import refresh_outputs, write_front_picture

    notebooks, output = _lessons_and_folder(options, "refresh")
    runs = refresh_outputs(notebooks, output)
    if any(notebook.stem.startswith("07") for notebook in notebooks):
        write_front_picture()
    return _report(runs, output)


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    """Return the profile, and each parameter of the command line with its value."""
    from course_utils.teaching import read_value

    return {"profile": options.profile, **{name: read_value(value) for name, value in options.parameters}}


def _settings(options: argparse.Namespace) -> "Settings":
    """Return the settings that the command line names. Raise `ConfigError` if one of them is wrong."""
    from course_utils.settings import Settings

    try:
        return Settings(**_parameters(options))
    except ConfigError as error:
        raise error.advising("It was given after -p.") from error


def _lessons_and_folder(options: argparse.Namespace, kind: str) -> tuple[list[Path], Path]:
    from course_utils.teaching import lesson_notebooks, new_output_folder, run_folder

    notebooks = lesson_notebooks(options.only)
    output = run_folder(options.name) if options.name is not None else options.output
    return notebooks, (output or new_output_folder(kind)).resolve()


def _report(runs: list, output: Path) -> int:
    from course_utils.teaching import results_table

    print(f"\n{results_table(runs)}\n\nExecuted notebooks and results.json: {output}")
    return 0 if all(run.status == "ok" for run in runs) else 1


def _train(options: argparse.Namespace) -> int | None:
    from course_utils.scale.train_command import summarise_run, train_run
    from course_utils.teaching import new_output_folder
    from course_utils.training.acceleration import run_on_main

    settings = _settings(options)
    # One folder for all processes, which may have looked at the clock in different seconds.
    output = options.output or run_on_main(lambda: new_output_folder("train"))
    try:
        facts = train_run(settings, output.resolve(), options.part)
    except KeyboardInterrupt as stopped:
        if os.environ.get("RANK", "0") == "0":
            begin = str(stopped) or "Interrupted."
            print(f"\n{begin} To go on: the same command with --output {output.resolve()}", file=sys.stderr)
        return 130  # as a shell reports Ctrl-C
    if os.environ.get("RANK", "0") == "0":
        print(f"{summarise_run(facts)}\n{output.resolve() / 'results.json'}")


def _fetch(options: argparse.Namespace) -> int:
    from course_utils.data.archives import files_table
    from course_utils.data.splits import fetch_images
    from course_utils.models.weights import fetch_weights

    settings = _settings(options)
    rows, failed = [], False
    for fetch in (fetch_images, fetch_weights):
        try:
            rows += fetch(settings)
        except CourseError as error:  # what else there is comes all the same
            _print_error(error)
            failed = True
    if rows:
        print(files_table(rows))
    return 2 if failed else 0


def _lab(options: argparse.Namespace) -> None:
    from course_utils.lab import start_lab

    start_lab(options.options)


def _exercises(options: argparse.Namespace) -> None:
    from course_utils.teaching import generate_exercises

    print(*generate_exercises(), sep="\n")


def _quiz(options: argparse.Namespace) -> None:
    from course_utils.teaching import new_output_folder, write_quizzes

    print(*write_quizzes((options.output or new_output_folder("quiz")).resolve()), sep="\n")


def _slides(options: argparse.Namespace) -> None:
    from course_utils.teaching import lesson_notebooks, write_slides
    from course_utils.teaching.slides import CDN

    print(*write_slides(lesson_notebooks(options.only), options.output, options.reveal), sep="\n")
    if not options.reveal:
        print(f"Whenever they are opened, they load reveal.js from {CDN}. Without a network: --reveal FOLDER")


def _grade(options: argparse.Namespace) -> int:
    from course_utils.teaching import (
        grade,
        make_limits,
        new_output_folder,
        read_delivery,
        summary,
        write_marks,
    )
    from course_utils.teaching.exercises import SOLUTIONS_FOLDER

    sys.stdout.reconfigure(errors="replace")  # names that this terminal may not be able to show
    output = options.output or new_output_folder("grades")
    delivery = read_delivery(output, options.format, options.roster, options.marked)
    grade(
        options.submissions,
        output,
        limits=make_limits(options.seconds, options.memory_gb, options.engine, options.image),
        workers=options.workers,
        solutions=options.solutions or SOLUTIONS_FOLDER,
        lessons=options.lessons,
    )
    results, told = write_marks(output, delivery)
    print(summary(results), *told, sep="\n")
    return 0 if all(result.status == "graded" for result in results) else 1


def _sweep(options: argparse.Namespace) -> int:
    from course_utils.teaching import sweep, sweep_folder

    output = (options.output or sweep_folder(options.notebook)).resolve()
    results = sweep(options.notebook, options.grid, output, options.workers)
    failed = [result for result in results if result["status"] != "ok"]
    for result in failed:
        print(f"{result['name']}: cell {result['cell']}: {result['error']}", file=sys.stderr)
    print(f"{len(results)} runs, {len(failed)} failed. The table and its plots: {output / 'results.ipynb'}")
    return 1 if failed else 0


def _students_repository(options: argparse.Namespace) -> None:
    from course_utils.teaching import students_repository

    folder = students_repository(options.name, options.folder, options.ref)
    print(f"Make an empty repository {options.name} on GitHub, and then:")
    print(f'git -C "{folder}" push https://github.com/{options.name}.git main {options.ref}'.rstrip())


def _set_repository(options: argparse.Namespace) -> None:
    from course_utils.teaching import set_repository

    changed = set_repository(options.name, ref=options.ref)
    print(*changed, f"{len(changed)} files have changed", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
