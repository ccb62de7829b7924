"""Sources of the site, as far as `make site` itself does not say what is wrong with them."""

import importlib
import inspect
import re
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_every_part_of_the_package_has_its_page_in_the_order_of_the_imports():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    layers = " | ".join(reversed(tools["importlinter"]["contracts"][0]["layers"])).split(" | ")
    named = re.findall(r"^   course_utils\.([\w.]+)$", text, re.MULTILINE)
    assert [*named, "__main__"] == layers


@pytest.mark.parametrize("part", [path.parent.name for path in (ROOT / "course_utils").glob("*/__init__.py")])
def test_a_page_shows_what_the_front_door_lists(part):
    """autodoc leaves out what has no docstring."""
    module = importlib.import_module(f"course_utils.{part}")
    assert module.__doc__ and module.__all__
    for name in module.__all__:
        listed_object = getattr(module, name)
        if inspect.isfunction(listed_object) or inspect.isclass(listed_object):
            assert inspect.getdoc(listed_object), f"course_utils.{part}.{name} has no docstring"


def test_links_between_the_pages_lead_to_files():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_lines_of_the_page_try_run(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "try.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^(?!from |$)", code.strip(), re.MULTILINE)) == 6
    for name in ("fruit", "buildings"):
        (tmp_path / "my_things" / name).mkdir(parents=True)
        for path in sorted((ROOT / "data" / "clipart" / "train" / name).glob("*.png"))[:3]:
            shutil.copy(path, tmp_path / "my_things" / name)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "of 6 correct" in capsys.readouterr().out
