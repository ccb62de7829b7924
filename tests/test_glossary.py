"""The glossary has what the lessons use: terms that they set in bold, and PyTorch's names in their code."""

import ast
import builtins
import io
import json
import pathlib
import re
import time

import numpy as np
import pandas as pd
import pytest
import torch
from small_notebooks import text_of
from torch import nn
from torch.utils import data

from course_teaching.lessons import lesson_notebooks
from course_utils.settings import REPOSITORY_FOLDER

GLOSSARY = (REPOSITORY_FOLDER / "docs" / "glossary.md").read_text(encoding="utf-8")
TERMS = {
    term.split(" (")[0].lower() for term in re.findall(r"^\| (.+?) \| .+ \| \d\d[\d, ]* \|$", GLOSSARY, re.M)
}
NAMES = dict(re.findall(r"^- `(\w+)` \((\d\d)\): .+\.$", GLOSSARY, re.MULTILINE))

# Bold for another reason: packages, names of parts and of settings, and plain words that a sentence leans on.
NOT_TERMS = {"torchvision", "timm", "torchtext", "accelerate", "training", "validation", "test", "clip art"}
NOT_TERMS |= {"used only", "trained and used", "not", "found", "aligned", "kind", "topics", "probabilities"}

TORCH = (
    torch,
    torch.Tensor,
    nn,
    nn.functional,
    nn.Module,
    torch.optim,
    torch.optim.Adam,
    torch.autograd,
    data,
)
# What a reader knows who knows Python, or what NumPy and pandas call by the same name.
KNOWN = (
    builtins,
    str,
    bytes,
    list,
    dict,
    set,
    tuple,
    int,
    float,
    np,
    np.ndarray,
    pd,
    pd.DataFrame,
    pd.Series,
)
KNOWN += (pathlib.Path, time, io, json)
ELSEWHERE = {"classes", "modules", "nn", "seed", "train", "t"}  # of the course and of Python


def missing_terms(text):
    """Return what a text sets in bold and the glossary does not have, but for NOT_TERMS."""
    bold = set(re.findall(r"\*\*([a-z][a-z -]+)\*\*", text)) - NOT_TERMS
    endings = ("", "s", "es", " loss")
    return {term for term in bold if not {term.removesuffix(ending) for ending in endings} & TERMS}


def names_of_torch(source):
    """Return PyTorch's names in a program, but for those that NumPy, pandas and Python share."""
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            used |= {alias.name for alias in node.names}
    theirs = {name for one in TORCH for name in dir(one)}
    return used & theirs - {name for one in KNOWN for name in dir(one)} - ELSEWHERE


@pytest.mark.parametrize("path", lesson_notebooks(), ids=lambda path: path.stem)
def test_a_term_that_a_lesson_sets_in_bold_is_in_the_glossary(path):
    assert not missing_terms(text_of(path, "markdown"))


def test_the_names_of_pytorch_are_in_the_glossary_with_the_first_lesson_that_uses_them():
    first = {}
    for path in lesson_notebooks():
        for name in names_of_torch(text_of(path, "code")):
            first.setdefault(name, path.stem[:2])
    assert first == NAMES
