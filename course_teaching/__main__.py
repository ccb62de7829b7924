"""The command line for instructors: see docs/instructors.md."""

import argparse
import sys
from pathlib import Path

from course_utils.__main__ import add_command, add_parameters, read_parameters, read_settings, run_command

# Each command imports what it needs when it runs, so that `--help` does not wait for torch.


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return its exit status."""
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_teaching", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = add_command(commands, "run", _run, "execute the lessons and gather their results")
    text = "stop a cell that takes longer; default: no limit"
    run.add_argument("--seconds-per-cell", type=int, metavar="N", help=text)
    add_parameters(run, "a parameter, for every lesson that has it; may be repeated")
    refresh = add_command(commands, "refresh", _refresh, "run the lessons and store their outputs")
    slides = add_command(commands, "slides", _slides, "make slides from the stored lessons")
    slides.add_argument("--output", type=Path, required=True, metavar="DIR")
    text = "folder of reveal.js, relative to DIR; default: slides load it from the network"
    slides.add_argument("--reveal", metavar="FOLDER", help=text)
    for part in (run, refresh, slides):
        part.add_argument("--only", nargs="+", default=[], metavar="NUMBER", help="for example 04 05")
    for part in (run, refresh):
        part.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    add_command(commands, "exercises", _exercises, "make the students' exercises from the solutions")
    text = "write the lessons' quizzes for a learning platform: QTI and Moodle's GIFT"
    quiz = add_command(commands, "quiz", _quiz, text)
    quiz.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    grade = add_command(commands, "grade", _grade, "run and grade submissions")
    text = "a folder with one folder for each student, or a zip file of it"
    grade.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help=text)
    grade.add_argument("--output", type=Path, metavar="DIR", help="default: a new folder in runs/")
    grade.add_argument("--solutions", type=Path, metavar="FOLDER", help="default: those of the course")
    chosen = {"nargs": "+", "default": [], "metavar": "LESSON"}
    grade.add_argument("--lesson", dest="lessons", **chosen, help="name or number; default: all")
    grade.add_argument("--seconds", type=int, default=300, help="for each notebook")
    grade.add_argument("--memory-gb", type=float, default=4, help="for each notebook")
    grade.add_argument("--workers", type=int, default=2, help="notebooks at the same time")
    text = "the class: an export of Moodle or Canvas, or columns name and id"
    grade.add_argument("--roster", type=Path, metavar="CSV", help=text)
    engines = ["docker", "podman", "bwrap", "none"]
    grade.add_argument("--engine", choices=engines, help="what confines them; default: the best here")
    grade.add_argument("--image", help="for docker and podman; default: $COURSE_GRADING_IMAGE")
    sweep = add_command(commands, "sweep", _sweep, "run one lesson with every combination of a grid")
    sweep.add_argument("notebook", type=Path)
    sweep.add_argument("--grid", type=Path, required=True, metavar="FILE", help="YAML: names and values")
    sweep.add_argument("--output", type=Path, metavar="DIR", help="default: runs/sweep_NOTEBOOK")
    sweep.add_argument("--workers", type=int, help="default: one for each core")
    text = "write the course's address wherever it occurs"
    address = add_command(commands, "set-repository", _set_repository, text)
    address.add_argument("name", metavar="OWNER/NAME", help='on GitHub; "" removes it')
    address.add_argument("--ref", default="", metavar="TAG", help="where links lead; default: the newest")
    return parser


def _run(options: argparse.Namespace) -> int:
    from course_teaching.lessons import run_lessons

    read_settings(options)  # reports a wrong value before any lesson is read
    notebooks, output = _lessons_and_folder(options, options.profile)
    runs = run_lessons(notebooks, read_parameters(options), output, options.seconds_per_cell)
    return _report(runs, output)


def _refresh(options: argparse.Namespace) -> int:
    from course_teaching.lessons import write_file
    from course_teaching.stored_outputs import FRONT_PICTURE, front_picture, refresh_outputs

    notebooks, output = _lessons_and_folder(options, "refresh")
    runs = refresh_outputs(notebooks, output)
    if any(notebook.stem.startswith("07") for notebook in notebooks):
        write_file(FRONT_PICTURE, front_picture())
    return _report(runs, output)


def _lessons_and_folder(options: argparse.Namespace, kind: str) -> tuple[list[Path], Path]:
    from course_teaching.lessons import lesson_notebooks
    from course_utils.scale.run_folders import new_output_folder

    return lesson_notebooks(options.only), (options.output or new_output_folder(kind)).resolve()


def _report(runs: list, output: Path) -> int:
    from course_teaching.lessons import results_table

    print(f"\n{results_table(runs)}\n\nExecuted notebooks and results.json: {output}")
    return 0 if all(run.status == "ok" for run in runs) else 1


def _exercises(options: argparse.Namespace) -> None:
    from course_teaching.exercises import generate_exercises

    print(*generate_exercises(), sep="\n")


def _quiz(options: argparse.Namespace) -> None:
    from course_teaching.quizzes import write_quizzes
    from course_utils.scale.run_folders import new_output_folder

    print(*write_quizzes((options.output or new_output_folder("quiz")).resolve()), sep="\n")


def _slides(options: argparse.Namespace) -> None:
    from course_teaching.lessons import lesson_notebooks
    from course_teaching.slides import CDN, write_slides

    print(*write_slides(lesson_notebooks(options.only), options.output, options.reveal or CDN), sep="\n")


def _grade(options: argparse.Namespace) -> int:
    from course_teaching.exercises import SOLUTIONS_FOLDER
    from course_teaching.grading import Limits, grade, summary
    from course_utils.scale.run_folders import new_output_folder

    sys.stdout.reconfigure(errors="replace")  # for names that this terminal cannot show
    limits = Limits(
        seconds=options.seconds,
        cell_seconds=options.seconds / 4,
        memory=int(options.memory_gb * 1e9),
        engine=options.engine,
        image=options.image,
        workers=options.workers,
    )
    results = grade(
        options.submissions,
        options.output or new_output_folder("grades"),
        limits=limits,
        solutions=options.solutions or SOLUTIONS_FOLDER,
        lessons=options.lessons,
        roster=options.roster,
    )
    print(summary(results))
    return 0 if all(result.status == "graded" for result in results) else 1


def _sweep(options: argparse.Namespace) -> int:
    from course_teaching.sweeps import sweep

    results = sweep(options.notebook, options.grid, options.output, options.workers)
    failed = [result for result in results if result["status"] != "ok"]
    for result in failed:
        print(f"{result['name']}: cell {result['cell']}: {result['error']}", file=sys.stderr)
    print(f"{len(results)} runs, {len(failed)} failed. Results: results.csv.")
    return 1 if failed else 0


def _set_repository(options: argparse.Namespace) -> None:
    from course_teaching.address import set_repository

    changed = set_repository(options.name, ref=options.ref)
    print(*changed, f"{len(changed)} files have changed", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
