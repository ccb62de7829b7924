"""The progress of a lesson is one line, however the output is read."""

import io

from course_teaching.progress import Progress


def test_progress_is_one_short_line_in_a_file(capsys):
    progress = Progress("04_train", 3)
    with progress.shown():
        progress.start_cell(None, 0)
    progress.end("ok in 3 s")
    assert capsys.readouterr().out == "04_train ... ok in 3 s\n"


def test_progress_on_a_terminal_shows_each_cell_in_the_place_of_the_last(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    progress = Progress("04_train", 3)
    with progress.shown():
        progress.start_cell(None, 0)
        progress.start_cell(None, 1)
    progress.end("ok in 3 s")
    lines = [line.strip() for line in terminal.getvalue().split("\r")]
    starts = [
        "04_train",
        "04_train ... cell 1 of 3,",
        "04_train ... cell 2 of 3,",
        "04_train ... ok in 3 s",
    ]
    assert [start for start in starts if any(line.startswith(start) for line in lines)] == starts
