"""Checks of lesson 12: search by picture, and classification with prototypes."""

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from course_utils.checks.mistakes import Mistakes, some_numbers
from course_utils.checks.verdict import Right, check


def _cosine(library: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return normalize(library, dim=1) @ normalize(query, dim=0)


SEARCH = Mistakes(
    right=lambda query, library, count: _cosine(library, query).topk(count).indices,
    wrong={
        "You multiply features without normalising them, so long ones win. Divide them by their lengths "
        "first.": (lambda query, library, count: (library @ query).topk(count).indices),
        "You take the smallest distances, which depend on the lengths. Cosine similarity doesn't.": (
            lambda query, library, count: (library - query).norm(dim=1).topk(count, largest=False).indices
        ),
        "Those are the least similar pictures. Try the other end of the order.": (
            lambda query, library, count: _cosine(library, query).topk(count, largest=False).indices
        ),
        "You divide each column by its length, but a picture is a row. Try `dim=1`.": (
            lambda query, library, count: (normalize(library, dim=0) @ query).topk(count).indices
        ),
        "Those are similarities. Return the positions of the pictures in the library.": (
            lambda query, library, count: _cosine(library, query).topk(count).values
        ),
        "The pictures are right, but their order isn't: the most similar one comes first.": (
            lambda query, library, count: _cosine(library, query).topk(count).indices.sort().values
        ),
        "That ranks the whole library. Return only the first `count` positions.": (
            lambda query, library, count: _cosine(library, query).argsort(descending=True)
        ),
        "That is only one picture. Return `count` of them.": (
            lambda query, library, count: _cosine(library, query).topk(1).indices
        ),
    },
    read=some_numbers("Expected a list of positions in the library, got {value}."),
    found="For {count} pictures, you return {value}. ",
    otherwise="Try ranking the rows of the library by their cosine similarity to the query, highest first.",
)


def _random(*shapes: tuple[int, ...], seed: int) -> list[torch.Tensor]:
    """Return positive features whose rows differ in length, as a network's features do."""
    random = torch.Generator().manual_seed(seed)
    pairs = [(shape, (*shape[:-1], 1)) for shape in shapes]
    return [
        torch.rand(one, generator=random) * 5 * torch.rand(other, generator=random) for one, other in pairs
    ]


@check(
    begin="what must you do to two feature vectors so that their dot product does not "
    "depend on their lengths?",
    expects="a function from a query, a library and a count to positions in the library",
)
def nearest_pictures(answer):
    """Lesson 12: the most similar pictures in a library, by cosine similarity."""
    cases = [(*_random((4,), (12, 4), seed=seed), count) for seed, count in ((1, 3), (2, 4))]
    yield from SEARCH.compare(answer, cases)
    yield Right("You return the most similar pictures, most similar first, however long their features are.")


def _plain_means(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.stack([features[labels == label].mean(dim=0) for label in labels.unique()])


def _means(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return _plain_means(normalize(features, dim=1), labels)


def _firsts(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.stack([features[labels == label][0] for label in labels.unique()])


def _cosines(queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return normalize(queries, dim=1) @ normalize(rows, dim=1).T


def _classifier(scores: Callable = _cosines, rows: Callable = _means) -> Callable:
    """Return a classifier that gives each query the label of the row with the highest score."""

    def classify(features: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        return labels.unique()[scores(queries, rows(features, labels)).argmax(dim=1)]

    return classify


PROTOTYPES = Mistakes(
    right=_classifier(),
    wrong={
        "You return the class of the most similar picture, its nearest neighbour. A prototype is a mean.": (
            lambda features, labels, queries: labels[_cosines(queries, features).argmax(dim=1)]
        ),
        "You don't divide the prototypes by their lengths, so long ones win.": _classifier(
            lambda queries, rows: queries @ rows.T
        ),
        "You take the smallest distance. Try cosine similarity instead, which ignores lengths.": _classifier(
            lambda queries, rows: -torch.cdist(queries, rows)
        ),
        "In your means, long features count more. Divide each picture's features by their length first.": (
            _classifier(rows=_plain_means)
        ),
        "That is the class of the least similar prototype.": _classifier(
            lambda queries, rows: -_cosines(queries, rows)
        ),
        "Those are the positions of the prototypes. Return the labels of their classes.": (
            lambda features, labels, queries: _cosines(queries, _means(features, labels)).argmax(dim=1)
        ),
        "You use only one picture of each class. A prototype is the mean of all its pictures.": _classifier(
            rows=_firsts
        ),
        "Those are similarities. Return the label of the most similar prototype.": (
            lambda features, labels, queries: _cosines(queries, _means(features, labels)).max(dim=1).values
        ),
    },
    read=some_numbers("Expected one label for each query, got {value}."),
    found=lambda value, right, features, labels, queries: f"For {len(queries)} queries, you return {value}. ",
    otherwise="Try one mean for each label. Which mean has the highest cosine similarity to the query?",
)


@check(
    begin="how do you compute the mean of one class's features? And which mean is most similar to a query?",
    expects="a function from features, labels and queries to one label for each query",
)
def prototype_labels(answer):
    """Lesson 12: the class of each query, from the most similar prototype."""
    cases = []
    for seed in (3, 4):
        features, queries = _random((18, 4), (14, 4), seed=seed)
        cases.append((features, torch.tensor([7, 2, 5] * 6), queries))
    yield from PROTOTYPES.compare(answer, cases)
    yield Right("You give each query the class of the most similar prototype.")
