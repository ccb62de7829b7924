"""Lesson 00's check of the machine: what is missing has a row that names it, and says how to get it."""

import shutil
from importlib.metadata import PackageNotFoundError

from course_utils.notebook import machine
from course_utils.notebook.machine import describe_machine
from course_utils.settings import Settings, shipped_data_folder


def not_fine(table):
    return table[~table.fine].found.to_dict()


def test_data_that_are_missing_are_named_with_how_to_get_them_again(tmp_path, monkeypatch, capsys):
    assert not_fine(describe_machine(Settings())) == {}
    assert "checks: " in capsys.readouterr().err  # a bar, since it takes seconds
    shutil.copytree(shipped_data_folder(), tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "text")
    (tmp_path / "data" / "clipart" / "train" / "bugs" / "ant.png").unlink()
    monkeypatch.setattr(machine, "shipped_data_folder", lambda: tmp_path / "data")
    found = not_fine(describe_machine(Settings()))
    assert found.keys() == {"data/clipart", "data/text"}
    assert all("Restore it: " in text for text in found.values())


def test_package_that_is_missing_or_too_old_is_named_with_pip(monkeypatch):
    look_up = machine.version

    def version(name):
        if name == "captum":
            raise PackageNotFoundError(name)
        return "0.1" if name == "seqeval" else look_up(name)

    monkeypatch.setattr(machine, "version", version)
    assert not_fine(describe_machine(Settings())) == {
        "captum": "missing: pip install captum",
        "seqeval": "0.1: pip install -U seqeval",
    }
