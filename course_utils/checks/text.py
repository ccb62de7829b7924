"""Checks of lessons 14 and 15: padding, pooling, the labels of tokens, and names that were found."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from course_utils.checks.asking import as_numbers
from course_utils.checks.mistakes import Mistakes, one_tensor
from course_utils.checks.values import first_difference
from course_utils.checks.verdict import Right, check

# Padding on the right, padding on the left, and a pair of texts without any
IDS = torch.tensor([[101, 7, 9, 102, 0, 0], [0, 0, 0, 101, 5, 102], [101, 4, 102, 3, 6, 102]])


def _mask_of(value: object) -> torch.Tensor:
    value = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return one_tensor("Give a tensor of the shape [3, 6]; this is {value}.", 3, 6)(value)


def _first_wrong_row(value: torch.Tensor, right: torch.Tensor, ids: torch.Tensor, pad: int) -> str:
    row = int((value != right).any(dim=1).nonzero()[0])
    return f"For the tokens {ids[row].tolist()}, padded with {pad}, your mask is {value[row].tolist()}."


PADDING_MASK = Mistakes(
    right=lambda ids, pad: ids != pad,
    wrong={
        "It is the wrong way round: 1 marks a token, 0 marks padding.": (lambda ids, pad: ids == pad),
        "Here the id of the padding is 1, and you keep it: ask for `pad`, not for 0.": (
            lambda ids, pad: ids != 0
        ),
        "Where the id of the padding is 1, 0 is a token like any other: compare with `pad` alone.": (
            lambda ids, pad: (ids != pad) & (ids != 0)
        ),
        "Some tokenizers put the padding on the left: compare each id, don't count them.": (
            lambda ids, pad: torch.arange(ids.shape[1]) < (ids != pad).sum(dim=1, keepdim=True)
        ),
        "[CLS] and [SEP] are tokens like any other here; only padding is left out.": (
            lambda ids, pad: (ids != pad) & (ids < 100)
        ),
        "Everything is 1: then the encoder reads the padding as text.": (
            lambda ids, pad: torch.ones_like(ids)
        ),
    },
    read=_mask_of,
    otherwise=_first_wrong_row,
)


@check(
    begin="which of the `ids` are not padding? Compare all of them with `pad` at once.",
    expects="a function from a tensor of token ids and the id of the padding to a tensor of 0 and 1",
)
def padding_mask(answer):
    """Lesson 14: make the attention mask of a padded batch."""
    # As BERT numbers its tokens, and as RoBERTa does: there 0 begins a text, and 1 is the padding
    roberta = torch.where(IDS == 0, 1, torch.where(IDS == 101, 0, IDS))
    yield from PADDING_MASK.compare(answer, [(IDS, 0), (roberta, 1)])
    yield Right("Every token is marked, and no padding, whatever the id of the padding is.")


def _sum_over(divide: Callable) -> Callable:
    """Return a pooling: the sum of the hidden states that count, divided by what `divide` gives for both."""

    def pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weighted = hidden * mask.unsqueeze(2)
        return weighted.sum(dim=1) / divide(weighted, mask)

    return pool


MEAN_POOLING = Mistakes(
    right=_sum_over(lambda weighted, mask: mask.sum(dim=1, keepdim=True)),
    wrong={
        "That is the mean over all six positions, padding included: where is the mask?": (
            lambda hidden, mask: hidden.mean(dim=1)
        ),
        "The padding is set to 0 but still counted: divide by the number of tokens that count.": (
            _sum_over(lambda weighted, mask: mask.shape[1])
        ),
        "That is the sum. A long text would have larger features than a short one: divide.": (
            _sum_over(lambda weighted, mask: 1)
        ),
        "That is the first token alone, [CLS]. Some models use it, this one doesn't.": (
            lambda hidden, mask: hidden[:, 0]
        ),
        "That is the last token alone. Average all tokens that count.": lambda hidden, mask: hidden[:, -1],
        "You divide by the square root of the number of tokens that count. Divide by the number.": (
            _sum_over(lambda weighted, mask: mask.sum(dim=1, keepdim=True).sqrt())
        ),
        "You divide by the number of tokens in the whole batch. Each text has its own number.": (
            _sum_over(lambda weighted, mask: mask.sum())
        ),
        "That is the largest number of each column, not the mean.": (
            lambda hidden, mask: (hidden * mask.unsqueeze(2)).amax(dim=1)
        ),
        "A hidden state of zeros is not padding: only the mask says which tokens count.": (
            _sum_over(lambda weighted, mask: weighted.any(dim=2).sum(dim=1, keepdim=True))
        ),
        "A 0 in a hidden state is a number like any other: count tokens by the mask.": (
            _sum_over(lambda weighted, mask: (weighted != 0).sum(dim=1))
        ),
    },
    read=one_tensor("For hidden states [3, 6, 4], three texts, give a tensor [3, 4]; this is {value}.", 3, 4),
    otherwise="Begin with one text: which of its tokens count, and what is the mean of their hidden states?",
)


@check(
    begin="multiply each hidden state by its mask, sum over the tokens, and divide by the sum of the mask.",
    expects="a function from hidden states and a mask to one list of numbers for each text",
)
def pooled_by_hand(answer):
    """Lesson 14: average the hidden states of the tokens that count."""
    hidden = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    hidden[:, 1] = hidden[0, 2, 3] = 0  # a hidden state may be 0, and its token counts all the same
    other_mask = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])
    yield from MEAN_POOLING.compare(answer, [(hidden, (IDS != 0).long()), (hidden, other_mask)])
    yield Right("The mean of the tokens that count.")


IGNORED = -100


def _aligned(skip: Callable) -> Callable:
    """Return an alignment that gives every token its word's label, but -100 where `skip` is true."""

    def align(labels: list[int], word_ids: list[int | None]) -> list[int]:
        every = [IGNORED if word is None else labels[word] for word in word_ids]
        return [IGNORED if skip(every, word_ids, place) else label for place, label in enumerate(every)]

    return align


def _first_wrong_label(value: list, right: list, labels: list, word_ids: list) -> str:
    if len(value) != len(word_ids):
        return f"Give one label for each of the {len(word_ids)} tokens."
    if odd := [label for label in value if label not in (*labels, IGNORED)]:
        return f"{odd[0]!r} is no label: a token gets its word's label, or the number {IGNORED}."
    if any(label != IGNORED for label, word in zip(value, word_ids, strict=True) if word is None):
        return f"A token of no word (None) has no label: it gets {IGNORED}, which the loss ignores."
    place = first_difference(value, right) - 1
    if right[place] != IGNORED:
        return f"The token at word_ids[{place}] begins word {word_ids[place]}, whose label is {right[place]}."
    if value[place] == 0:
        return f"0 is a label: it means no name. A token that has none gets {IGNORED}."
    return f"The token at word_ids[{place}] is not the first of word {word_ids[place]}, and gets {IGNORED}."


ALIGNED_LABELS = Mistakes(
    right=_aligned(lambda every, words, place: words[place] in words[:place]),
    wrong={
        "Every token has its word's label, so that long words count more often than short ones.": (
            _aligned(lambda every, words, place: False)
        ),
        "That is the last token of each word. Label the first.": (
            _aligned(lambda every, words, place: words[place : place + 1] == words[place + 1 : place + 2])
        ),
        "A word that continues after a token of no word (None) already has its label: remember that.": (
            _aligned(lambda every, words, place: place and words[place] == words[place - 1])
        ),
        "Two neighbours may have the same label and still be two words: compare words, not labels.": (
            _aligned(lambda every, words, place: place and every[place] == every[place - 1])
        ),
    },
    read=lambda value: [label.item() if hasattr(label, "item") else label for label in value],
    found="Words of the tokens {word_ids}, labels {labels}: you give {value}. ",
    otherwise=_first_wrong_label,
)


@check(
    begin="loop over `word_ids`. The first token of a word gets the word's label, all others -100.",
    expects="a function from labels of words and the word of each token to a label for each token",
)
def aligned_labels(answer):
    """Lesson 15: put each word's label on the word's first token."""
    cases = (
        ([1, 2, 0], [None, 0, 0, 1, 2, 2, None]),
        ([4, 4], [None, 0, 1, None]),
        ([0, 3, 0, 5], [None, 0, 1, 1, 1, 2, 3, None, None, None]),
        ([3], [0, 0]),  # a tokenizer without [CLS] and [SEP]
        ([2, 6], [None, 0, 0, None, 0, 1, None]),  # a token of no word inside a word
    )
    yield from ALIGNED_LABELS.compare(answer, cases)
    yield Right("One label for each word, on its first token, and none on [CLS], [SEP] and padding.")


def _names(labels: list[str], ends: bool = True, glued: bool = False, last_type: bool = False) -> set:
    """Return the names as (type, first word, last word); the options are mistakes."""
    names, start = set(), None
    for place, label in enumerate([*labels, "O"] if ends else labels):
        if start is not None and (label == "O" or (label.startswith("B-") and not glued)):
            names.add((labels[place - 1 if last_type else start][2:], start, place - 1))
            start = None
        if label.startswith("B-") and start is None:
            start = place
    return names


def _counted(names: Callable = _names, key: Callable = lambda name: name) -> Callable:
    """Return a function that counts names as found if their keys are equal."""

    def count(truth: list[str], answers: list[str]) -> tuple[int, int, int]:
        there, named = names(truth), names(answers)
        return len({*map(key, there)} & {*map(key, named)}), len(named), len(there)

    return count


def _counted_if(right: Callable) -> Callable:
    """Return a function that counts a true name as found by a look at the labels where it stands."""

    def count(truth: list[str], answers: list[str]) -> tuple[int, int, int]:
        found = sum(right(truth, answers, start, end) for _, start, end in _names(truth))
        return found, len(_names(answers)), len(_names(truth))

    return count


def _words(truth: list[str], answers: list[str]) -> tuple[int, int, int]:
    right = sum(one == other != "O" for one, other in zip(truth, answers, strict=True))
    return right, sum(label != "O" for label in answers), sum(label != "O" for label in truth)


def _shares(truth: list[str], answers: list[str]) -> tuple[float, float, float]:
    found, named, there = _counted()(truth, answers)
    return found / max(named, 1), found / max(there, 1), 2 * found / max(named + there, 1)


COUNTED_NAMES = Mistakes(
    right=_counted(),
    wrong={
        "Those are words. A name of two words is one name.": _words,
        "Those are shares. Return whole numbers.": _shares,
        "The last two are swapped: return found, predicted, gold in this order.": (
            lambda truth, answers: [_counted()(truth, answers)[number] for number in (0, 2, 1)]
        ),
        "Two names of the same type are two names: keep their positions.": (
            _counted(lambda labels: {kind for kind, *_ in _names(labels)})
        ),
        "Half of a name is not found: both ends and the type must be right.": (
            _counted(key=lambda name: (name[0], name[1]))
        ),
        "The last word is right, but the first is not: not found.": (
            _counted(key=lambda name: (name[0], name[2]))
        ),
        "The first word is right, but the last is not: not found.": (
            _counted_if(lambda truth, answers, start, end: truth[start : end + 1] == answers[start : end + 1])
        ),
        "The words are right, but the type is not: not found.": _counted(key=lambda name: name[1:]),
        "A second B begins a second name, even there.": _counted(lambda labels: _names(labels, glued=True)),
        "A name ends where no I- follows, whatever label comes next.": (
            _counted_if(lambda truth, answers, start, end: truth[start : end + 2] == answers[start : end + 2])
        ),
        "The type of a name is the type of its B-.": (
            _counted(lambda labels: _names(labels, last_type=True))
        ),
        "A name can end with the last word of the sentence.": (
            _counted(lambda labels: _names(labels, ends=False))
        ),
    },
    read=partial(as_numbers, count=3),
    found="{case}: gold {truth}, predicted {answers}. You count {value[0]:g}, {value[1]:g}, {value[2]:g}. ",
    otherwise="Predicted: {right[1]:g}, gold: {right[2]:g}.",
)


@check(
    begin="first turn the labels into a set of names: (type, first word, last word) for each.",
    expects="a function from two lists of BIO labels to three whole numbers: found, predicted, gold",
)
def counted_names(answer):
    """Lesson 15: count the found, the predicted and the gold names of one sentence."""
    cases = {
        "The same type twice, once found": ("B-LOC O B-LOC O", "B-LOC O O O"),
        "Both names correct": ("B-PER I-PER O B-LOC O", "B-PER I-PER O B-LOC O"),
        "Half of a name": ("B-PER I-PER O O", "B-PER O O O"),
        "The second half of a name": ("B-LOC I-LOC O", "O B-LOC O"),
        "A name that is too long": ("B-PER I-PER O O", "B-PER I-PER I-PER O"),
        "A whole name with another type": ("B-ORG I-ORG O", "B-LOC I-LOC O"),
        "Two names with no word between them": ("B-LOC B-LOC O", "B-LOC B-LOC O"),
        "A name directly after one that is found": ("B-LOC O O", "B-LOC B-PER O"),
        "A name that was missed": ("B-PER O B-LOC O", "O O B-LOC O"),
        "A name where there is none": ("O O O", "O B-ORG O"),
        "A name at the end of the sentence": ("O B-LOC I-LOC", "O B-LOC I-LOC"),
        "A name whose labels name two types": ("B-ORG I-ORG O", "B-LOC I-ORG O"),
    }
    split = {case: tuple(text.split() for text in texts) for case, texts in cases.items()}
    yield from COUNTED_NAMES.compare(answer, split)
    yield Right("A name is found if both of its ends and its type are right.")
