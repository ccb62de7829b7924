"""Where the numbers in the prose of a lesson come from.

A number in digits, or a number word with a unit behind it, is looked for as it is written (rounded, and as a
share or per cent): in the sentences that `test_numbers_in_prose` holds to files of results, in the stored
outputs of the same lesson, in its code, and in the times of the instructors' guide. What is found nowhere has
a reason in ALLOWED, by lesson and words. Small whole numbers are found easily, also by chance: so a sentence
with a result that matters is held to it in `test_numbers_in_prose`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from course_utils.settings import REPOSITORY_FOLDER

WORDS = {"two and a half": 2.5, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
WORDS |= {"nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "sixteen": 16, "eighteen": 18}
WORDS |= {"twenty": 20, "thirty": 30, "forty": 40, "sixty": 60, "ninety": 90, "hundred": 100}
UNITS = (
    "points?|times|seconds?|minutes?|hours?|days?|weeks?|seeds|runs?|steps|epochs?|pixels|images|pictures|"
    "drawings|photographs|sentences|texts|classes|corruptions|splits|folds|tries|settings|cores|cards|"
    "processes|digits|bytes|gigabytes|bits|authors|per cent"
)
DIGITS = r"(?<![\w.])[−-]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w|\.\d)"
IN_PROSE = re.compile(rf"{DIGITS}|\b(?:{'|'.join(WORDS)})(?= (?:[a-z-]+ )?(?:{UNITS})\b)", re.IGNORECASE)
NO_MEASUREMENTS = [
    r"(?s)```.*?```",
    r"`[^`\n]*`|(?<=\])\([^)]*\)",  # code, and where links lead
    r"(?m)^#.*$|^\d+\. ",  # headings, and the numbers of a list
    r"\[[^]\n]*(?:19|20)\d\d\]|\((?:[^()]*, )?(?:19|20)\d\d(?=[,)])",  # [He et al., 2015], (Efron, 1979)
    r"\[\d\d [^]]*\]|\b[Ll]essons? \d\d(?:(?:,| and| to) \d\d)*",  # lessons
    r"(?:arXiv|doi):\S+|\bothers, (?:19|20)\d\d",
    r"\b[A-Za-z]\w*-\d+\w*|\b[A-Za-z]+\d+\w*",  # names: CIFAR-10, ResNet-18, bfloat16
]
TASKS = "## Exercises"  # a cell whose numbers are questions
ALLOWED = """
00 | knows the 1,000 categories of ImageNet | published
00 | about 1.3 million labelled photographs into 1,000 categories | published
00 | with twenty pictures of each class? | a question
00 | closed in July 2025 | published
01 | from 0 to 255 | eight bits
01 | black about −2 | (0 - mean) / std
01 | White becomes (1 − 0.406) / 0.225 = 2.64 | computed in the sentence
01 | 60,000 colour photographs of 32 × 32 | published
01 | downloads 170 MB | published
03 | ln 1,000 is about 6.9 | a logarithm
02 | 1 + 16 + 1 = 18 | computed in the sentence
05 | at 28 by 28 pixels | the data's README
07 | $t$ is 4.3 for | Student's distribution
07 | from 0.0001 to 0.03 | benchmarks/settings_search.py
08 | about 0.5, 0.5, 0.4 and 0.2, 0.2, 0.2 | the model card
08 | from 80 % to 75 % | an example
08 | was made for 64 | the model card
09 | fifteen to eighteen test images | the README of the drawings
09 | above step 255 | the largest number of 8 bits
09 | 65,536 steps | 2 to the power of 16
10 | 124 million | published
10 | that had 1,200 | two classes of 600
11 | Sixty thousand pictures | an example
11 | sixty times as many files | 60,000 and 1,000 in the table below it
11 | less than 0.00002 | tests/scale
11 | March 2021 | published
11 | fifteen to ninety times | ratios in the table above it
11 | = 6.7 | the fraction before it
11 | at 64 pixels | the model card
11 | are 147.9 GB | published
12 | about 300 drawings | the 311 of the first output, rounded
13 | 400 sentences | the test set of lesson 10
"""


def allowed(lesson: str) -> dict[str, str]:
    """Return the words in a lesson whose numbers are measured nowhere, with the reason."""
    rows = [line.split(" | ") for line in ALLOWED.strip().splitlines()]
    return {words: reason for number, words, reason in rows if number == lesson}


def sources_of_numbers(path: Path, held: list[str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield, for each number in a lesson's prose, the number, the words around it, and its source or None.

    Args:
        path: A lesson.
        held: Sentences of it that are held to files of results, with # in place of each number.
    """
    cells = nbformat.read(path, as_version=4).cells
    places = {
        "an output": _numbers(" ".join(_shown(out) for cell in cells for out in cell.get("outputs", []))),
        "code": _numbers(" ".join(cell.source for cell in cells if cell.cell_type == "code")),
        "docs/instructors.md": _reading_time(path.stem[:2]),
    }
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for text in (source for source in prose if not source.startswith(TASKS)):
        text, known = _bare(text), {}
        for sentence in held:
            for match in re.finditer(sentence_pattern(_bare(sentence)), text):
                starts = [match.start(number) for number in range(1, match.re.groups + 1)]
                known |= dict.fromkeys(starts, "a file of results")
        for words, reason in allowed(path.stem[:2]).items():
            for match in re.finditer(re.escape(words), text):
                known |= dict.fromkeys(range(*match.span()), f"allowed: {reason}")
        for match in IN_PROSE.finditer(text):
            found = (name for name, numbers in places.items() if _is_among(match.group(), numbers))
            around = text[max(0, match.start() - 40) : match.end() + 30]
            yield match.group(), around, known.get(match.start()) or next(found, None)


def sentence_pattern(sentence: str) -> str:
    """Return a pattern for a sentence in which # stands for a number, with a group for each of them."""
    number = "|".join([r"\d[\d,]*(?:\.\d+)?", *sorted(WORDS, key=len, reverse=True)])
    return f"({number})".join(map(re.escape, sentence.split("#")))


def _bare(text: str) -> str:
    for pattern in NO_MEASUREMENTS:
        text = re.sub(pattern, " · ", text)
    return " ".join(text.split())


def _shown(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    html = re.sub(r"(?s)<style.*?</style>|<[^>]*>", " ", "".join(data.get("text/html", "")))
    return " ".join([output.get("text", ""), data.get("text/plain", ""), html])


def _reading_time(lesson: str) -> set[float]:
    guide = (REPOSITORY_FOLDER / "docs" / "instructors.md").read_text("utf-8")
    return _numbers(" ".join(re.findall(rf"(?m)^\| {lesson} [^|]*\| (\d+) min ", guide)))


def _numbers(text: str) -> set[float]:
    found = re.findall(r"\d[\d,_]*(?:\.\d+)?(?:e-?\d+)?", text)
    return {float(re.sub("[,_]", "", number)) for number in found}


def _is_among(word: str, numbers: set[float]) -> bool:
    """Tell whether one of the numbers, or a share in per cent, is the word, rounded as it is."""
    reach = 0.5 * 10 ** -len(word.partition(".")[2]) + 1e-6
    asked = WORDS.get(word.lower()) or abs(float(word.replace(",", "").replace("−", "-")))
    written = numbers | {100 * number for number in numbers if number <= 1}
    return any(abs(asked - number) <= reach for number in written)
