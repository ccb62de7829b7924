"""The limit of time grows with the measured speed of the machine."""

import pytest
from small_notebooks import run_nbval, write_notebook

from course_utils.errors import ConfigError
from course_utils.teaching import speed


@pytest.mark.parametrize("seconds, factor", [(speed.REFERENCE / 4, 1), (speed.REFERENCE * 4, 4)])
def test_a_slow_machine_is_given_longer_and_a_fast_one_no_less(monkeypatch, seconds, factor):
    monkeypatch.delenv(speed.VARIABLE, raising=False)
    monkeypatch.setattr(speed, "small_computation", lambda: seconds)
    assert speed.slowness() == pytest.approx(factor)


def test_the_environment_takes_its_place(monkeypatch, refused):
    monkeypatch.setenv(speed.VARIABLE, "2.5")
    assert speed.slowness() == 2.5
    for wrong in ("fast", "0", "nan", "inf"):
        monkeypatch.setenv(speed.VARIABLE, wrong)
        with refused(ConfigError, "how slow"):
            speed.slowness()


@pytest.mark.kernels
def test_nbval_says_of_a_cell_that_ran_out_of_time_how_to_give_it_longer(tmp_path, monkeypatch):
    monkeypatch.setenv(speed.VARIABLE, "2")
    notebook = write_notebook(tmp_path / "slow.ipynb", "import time\ntime.sleep(60)")
    done = run_nbval(notebook, "--nbval-cell-timeout=2")
    assert done.returncode == 1
    assert "A cell was ended after 4 s" in done.stdout and "COURSE_SLOWNESS=4" in done.stdout
