"""One lesson, run with many parameters: `grids` says which, `scheduling` runs them, `results` draws them."""

from course_utils.teaching.sweeps.scheduling import sweep, sweep_command

__all__ = ["sweep", "sweep_command"]
