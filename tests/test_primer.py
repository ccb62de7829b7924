"""The primer's lines print what the primer says, when they are pasted one after the other."""

import contextlib
import io
import re

from course_utils.settings import REPOSITORY_FOLDER

TEXT = (REPOSITORY_FOLDER / "docs" / "primer.md").read_text(encoding="utf-8")
WORDS = ["Tensor", "Module", "Loss", "Gradient", "Batch"]


def test_every_snippet_prints_what_stands_below_it():
    snippets = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)
    assert len(snippets) == TEXT.count("```python") >= len(WORDS)
    names = {}
    for code, said in snippets:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == said, code


def test_each_word_has_a_part_and_is_defined_in_it():
    parts = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert [word for word, _ in parts] == WORDS
    assert all(f"**{word.lower()}**" in text for word, text in parts)
