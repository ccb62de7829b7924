"""Progress bars: on the main process, and nowhere where they are not wanted."""

import pytest

from course_utils.data.progress import progress_bar


@pytest.mark.parametrize(
    "environment, shown",
    [({}, True), ({"RANK": "0"}, True), ({"RANK": "1"}, False), ({"TQDM_DISABLE": "1"}, False)],
    ids=str,
)
def test_only_the_main_process_shows_a_bar(environment, shown, monkeypatch, capsys):
    for name in ("RANK", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert list(progress_bar(range(3), desc="pictures")) == [0, 1, 2]
    assert ("pictures" in capsys.readouterr().err) == shown
