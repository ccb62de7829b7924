"""How the site is made: `make site` builds it from README, docs, lessons as they are stored, and docstrings.

The sources are those that you read on GitHub too, so the root of the site is the repository. What Sphinx
cannot do by itself is in docs/_extensions, a small file for each thing. No page loads anything from afar.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from course_teaching.address import HOST, repository, repository_ref  # noqa: E402

project = html_title = "Transfer learning from start to finish"
root_doc = "index"
include_patterns = [
    "index.md",
    "TUTOR.md",
    "docs/*.md",
    "docs/quizzes/*.md",
    "docs/routes/*.md",
    "docs/api/*.rst",
    "notebooks/*.ipynb",
    "notebooks/exercises/*.ipynb",
    "data/*.md",
    "data/*/*.md",
]
exclude_patterns = [
    *(".*", "build", "data/downloads", "notebooks/exercises/solutions", "runs"),
    "docs/index.md",  # read as index.md: see setup
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "glossary_links",
    "lesson_contents",
    "mathml",
    "notebook_metrics",
    "notebook_pictures",
    "predictions",
    "quiz_pages",
    "repository_links",
    "spoken_names",
    "theme_scripts",
    "try_page",
]

# Lessons and documents
nb_execution_mode = "off"  # a page shows what is stored; tests run the lessons and compare
nb_merge_streams = True
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
smartquotes = False  # text stays as it was written, `--flags` above all
html_math_renderer = "mathml"

# API pages: one for each part of the package, from its docstrings
templates_path = [str(HERE / "_templates")]
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # the name of a default, not its value: a path of the machine that built it
default_role = "py:obj"  # `fit` is a link where that is a name of the package
add_module_names = False

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_show_copyright = False
html_use_index = False  # no page leads there; what it would list is for the search
html_context = {"default_mode": "auto"}  # light or dark, as its reader has it
html_theme_options = {
    "home_page_in_toc": True,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the side bar has the search already
    "footer_content_items": [],
}
if repository():
    html_theme_options |= {
        "repository_url": f"{HOST}/{repository()}",
        "repository_branch": repository_ref() or "HEAD",
        "use_repository_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }


def setup(app):
    """Lay the first page where Sphinx wants it: in the root of the site, which is the repository's."""
    shutil.copyfile(HERE / "index.md", HERE.parent / "index.md")
