"""What the site needs beyond Sphinx: glossary links, mathematics, texts of pictures, folders, quizzes."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("sphinx", reason="no part of the site was tested: its packages are missing (make site)")
sys.path.insert(0, str(ROOT / "docs" / "_extensions"))

import glossary_links  # noqa: E402
import predictions  # noqa: E402
import quiz_pages  # noqa: E402
import repository_links  # noqa: E402
import try_page  # noqa: E402
from docutils import nodes  # noqa: E402

TABLE = """
| term | what it means | lesson |
|---|---|---|
| confidence | how sure | 05 |
| confidence interval | how far | 05 |
| cosine (schedule) | how *fast*. Also called: *half a wave, wave (of rates)* | 04, 06 |
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The confidence\nintervals overlap", "confidence interval"),
        ("Confidence is not all", "confidence"),
        ("along half a cosine", "cosine (schedule)"),
        ("overconfidence", None),
        ("confidences", "confidence"),
    ],
)
def test_a_term_is_found_as_it_is_written(text, found):
    terms = glossary_links.longest_first(glossary_links.read_terms(TABLE))
    match = glossary_links.uses(terms).search(text)
    assert (match and terms[match.lastindex - 1]) == found


class Environment:
    """As much of Sphinx as the glossary's links need."""

    def __init__(self, folder: Path, page: str):
        self.folder, self.docname, self.metadata = folder, page, {page: {}}
        self.env = self

    def doc2path(self, page):
        return str(self.folder / "glossary.md")

    def note_dependency(self, path):
        pass


@pytest.mark.parametrize(("lesson", "linked"), [("05", ["Confidence"]), ("04", [])])
def test_the_first_use_is_linked_but_not_in_titles_code_or_exercises_or_before_its_lesson(
    lesson, linked, tmp_path
):
    (tmp_path / "glossary.md").write_text(TABLE)
    document = nodes.document(None, None)
    document += nodes.title("", "Confidence")
    document += nodes.paragraph("", "", nodes.literal("", "confidence"), nodes.Text(" is a name."))
    document += nodes.paragraph("", "Confidence comes before confidence.")
    document += nodes.section("", nodes.paragraph("", "A cosine."), names=["exercises"])
    environment = Environment(tmp_path, f"notebooks/{lesson}_a_lesson")
    glossary_links.link_first_uses(environment, document)
    links = list(document.findall(glossary_links.addnodes.pending_xref))
    assert [link.astext() for link in links] == linked
    assert all(link.parent.astext() == "Confidence comes before confidence." for link in links)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("README.md", "index"),
        ("course_utils", "docs/api"),
        ("data/clipart", "data/clipart/README"),
        ("benchmarks/results", None),
    ],
)
def test_a_folder_is_the_page_that_tells_about_it(path, page):
    assert repository_links.page_of(path, {"data/clipart/README"}) == page


def test_a_quiz_is_a_page_that_folds_its_answers(tmp_path):
    path = tmp_path / "docs" / "quizzes" / "00_a_lesson.md"
    path.parent.mkdir(parents=True)
    text = (
        "Quiz title: A quiz\n\n1. Why?\n\n   x = 1\n\n*a) So.\n\n... Fine.\n\nb) Not so.\n\n... Look again.\n"
    )
    path.write_text(text, encoding="utf-8")
    app = SimpleNamespace(env=SimpleNamespace(doc2path=lambda name: tmp_path / f"{name}.md"))
    source = [text]
    quiz_pages.write_page(app, "docs/setup", source)
    assert source == [text]
    quiz_pages.write_page(app, "docs/quizzes/00_a_lesson", source)
    shown, folded = source[0].split("<details>")
    assert "(../../notebooks/00_a_lesson.ipynb)" in shown
    assert "## Question 1\n\nWhy?\n\nx = 1\n\n- **a)** So.\n- **b)** Not so.\n\n" in shown
    assert "Right" not in shown and "Fine" not in shown
    assert "\n\n- **a)** **Right.** Fine.\n- **b)** Wrong. Look again.\n\n</details>\n" in folded


def test_predictions_fold_the_first_output_before_any_other_text():
    outputs = [new_output("stream", text="5")]
    answer, other = new_code_cell("a", outputs=outputs), new_code_cell("b", outputs=outputs)
    cells = [
        new_code_cell("before", outputs=outputs),
        new_markdown_cell("**Predict:** how many?"),
        new_code_cell("def f(): pass"),
        *(answer, other),
        new_markdown_cell("**What do you expect** of yours?"),
        new_markdown_cell("So much for that."),
        new_code_cell("after", outputs=outputs),
    ]
    folded = predictions.fold_answers(new_notebook(cells=cells))
    tags = {cell.source: cell.metadata.get("tags") for cell in folded.cells if cell.cell_type == "code"}
    assert tags == {"before": None, "def f(): pass": None, "a": ["hide-output"], "b": None, "after": None}


def test_the_page_try_says_what_is_missing_without_npm(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(try_page, "ASSETS", tmp_path)
    monkeypatch.setattr(try_page, "export_backbone", lambda path: path.touch())
    monkeypatch.setattr(try_page.shutil, "which", lambda name: None)
    config, source = SimpleNamespace(html_static_path=["_static"]), ['<div id="try" class="try">']
    try_page.make_assets(None, config)
    try_page.say_what_is_missing(None, "docs/try", source)
    assert config.html_static_path == ["_static", str(tmp_path)]
    assert "install Node.js" in capsys.readouterr().err
    assert source == ['<div id="try" data-incomplete class="try">']


def test_a_runtime_that_was_not_pinned_is_refused(tmp_path):
    (tmp_path / "package.tgz").write_bytes(b"another")
    with pytest.raises(RuntimeError, match="Expected onnxruntime-web"):
        try_page.unpack_runtime(tmp_path / "package.tgz", tmp_path)
    assert not list(tmp_path.glob("*.wasm"))
