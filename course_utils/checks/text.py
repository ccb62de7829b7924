"""Checks of lessons 14 and 15: padding, pooling, labels of tokens, and counts of names."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from course_utils.checks.asking import as_numbers
from course_utils.checks.mistakes import Mistakes, one_tensor
from course_utils.checks.values import first_difference
from course_utils.checks.verdict import Right, check

# Padding on the right, padding on the left, and a pair of texts without padding
IDS = torch.tensor([[101, 7, 9, 102, 0, 0], [0, 0, 0, 101, 5, 102], [101, 4, 102, 3, 6, 102]])


def _mask_of(value: object) -> torch.Tensor:
    value = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return one_tensor("Expected a tensor of shape [3, 6], got {value}.", 3, 6)(value)


def _first_wrong_row(value: torch.Tensor, right: torch.Tensor, ids: torch.Tensor, pad: int) -> str:
    row = int((value != right).any(dim=1).nonzero()[0])
    return f"For the tokens {ids[row].tolist()}, padded with {pad}, your mask is {value[row].tolist()}."


PADDING_MASK = Mistakes(
    right=lambda ids, pad: ids != pad,
    wrong={
        "Your mask is the wrong way round: 1 marks a token, 0 marks padding.": (lambda ids, pad: ids == pad),
        "Here the padding id is 1, and you keep the padding. Compare with `pad`, not with 0.": (
            lambda ids, pad: ids != 0
        ),
        "When the padding id is 1, 0 is a token like any other. Compare with `pad` alone.": (
            lambda ids, pad: (ids != pad) & (ids != 0)
        ),
        "Some tokenizers pad on the left. Compare each id instead of counting tokens.": (
            lambda ids, pad: torch.arange(ids.shape[1]) < (ids != pad).sum(dim=1, keepdim=True)
        ),
        "[CLS] and [SEP] are tokens like any other here. Leave out only the padding.": (
            lambda ids, pad: (ids != pad) & (ids < 100)
        ),
        "Your mask is 1 everywhere, so the encoder would read the padding as text.": (
            lambda ids, pad: torch.ones_like(ids)
        ),
    },
    read=_mask_of,
    otherwise=_first_wrong_row,
)


@check(
    begin="which of the `ids` are not padding? Compare all of them with `pad` at once.",
    expects="a function from a tensor of token ids and the padding id to a tensor of 0 and 1",
)
def padding_mask(answer):
    """Lesson 14: make the attention mask of a padded batch."""
    # The ids of BERT, then those of RoBERTa, where 0 starts a text and 1 is padding
    roberta = torch.where(IDS == 0, 1, torch.where(IDS == 101, 0, IDS))
    yield from PADDING_MASK.compare(answer, [(IDS, 0), (roberta, 1)])
    yield Right("Your mask marks every token and no padding, whatever the padding id is.")


def _sum_over(divide: Callable) -> Callable:
    """Return a pooling function: the sum of the hidden states that count, over the result of `divide`."""

    def pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weighted = hidden * mask.unsqueeze(2)
        return weighted.sum(dim=1) / divide(weighted, mask)

    return pool


MEAN_POOLING = Mistakes(
    right=_sum_over(lambda weighted, mask: mask.sum(dim=1, keepdim=True)),
    wrong={
        "That is the mean over all six positions, padding included. Where is the mask?": (
            lambda hidden, mask: hidden.mean(dim=1)
        ),
        "You set the padding to 0 but still count it. Divide by the number of tokens that count.": (
            _sum_over(lambda weighted, mask: mask.shape[1])
        ),
        "That is the sum, so a long text would have larger features than a short one. Divide it.": (
            _sum_over(lambda weighted, mask: 1)
        ),
        "That is the first token alone, [CLS]. Some models use it, but this one doesn't.": (
            lambda hidden, mask: hidden[:, 0]
        ),
        "That is the last token alone. Average all tokens that count.": lambda hidden, mask: hidden[:, -1],
        "You divide by the square root of the number of tokens that count. Drop the square root.": (
            _sum_over(lambda weighted, mask: mask.sum(dim=1, keepdim=True).sqrt())
        ),
        "You divide by the number of tokens in the whole batch. Each text has its own number.": (
            _sum_over(lambda weighted, mask: mask.sum())
        ),
        "That is the largest value of each feature, not the mean.": (
            lambda hidden, mask: (hidden * mask.unsqueeze(2)).amax(dim=1)
        ),
        "A hidden state of zeros need not be padding. Only the mask shows which tokens count.": (
            _sum_over(lambda weighted, mask: weighted.any(dim=2).sum(dim=1, keepdim=True))
        ),
        "A 0 in a hidden state is a number like any other. Use the mask to count tokens.": (
            _sum_over(lambda weighted, mask: (weighted != 0).sum(dim=1))
        ),
    },
    read=one_tensor(
        "For hidden states of three texts, [3, 6, 4], expected a tensor of shape [3, 4], got {value}.", 3, 4
    ),
    otherwise="Start with one text. Which of its tokens count, and what is the mean of their hidden states?",
)


@check(
    begin="multiply each hidden state by its mask, sum over the tokens, and divide by the sum of the mask.",
    expects="a function from hidden states and a mask to a tensor with one row for each text",
)
def pooled_by_hand(answer):
    """Lesson 14: average the hidden states of the tokens that count."""
    hidden = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    hidden[:, 1] = hidden[0, 2, 3] = 0  # a hidden state can be 0 although its token counts
    other_mask = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])
    yield from MEAN_POOLING.compare(answer, [(hidden, (IDS != 0).long()), (hidden, other_mask)])
    yield Right("You average exactly the tokens that count.")


IGNORED = -100


def _aligned(skip: Callable) -> Callable:
    """Return a function that gives every token its word's label, or -100 where `skip` is true."""

    def align(labels: list[int], word_ids: list[int | None]) -> list[int]:
        every = [IGNORED if word is None else labels[word] for word in word_ids]
        return [IGNORED if skip(every, word_ids, place) else label for place, label in enumerate(every)]

    return align


def _first_wrong_label(value: list, right: list, labels: list, word_ids: list) -> str:
    if len(value) != len(word_ids):
        return f"Expected one label for each of the {len(word_ids)} tokens, got {len(value)}."
    if odd := [label for label in value if label not in (*labels, IGNORED)]:
        return f"{odd[0]!r} is not a label here. A token gets its word's label or {IGNORED}."
    if any(label != IGNORED for label, word in zip(value, word_ids, strict=True) if word is None):
        return (
            f"A token that belongs to no word (None) has no label. It gets {IGNORED}, which the loss ignores."
        )
    place = first_difference(value, right) - 1
    if right[place] != IGNORED:
        return f"The token at word_ids[{place}] starts word {word_ids[place]}, whose label is {right[place]}."
    if value[place] == 0:
        return f"0 is a label: it marks a word outside any name. A token without a label gets {IGNORED}."
    return f"The token at word_ids[{place}] is not the first of word {word_ids[place]}, so it gets {IGNORED}."


ALIGNED_LABELS = Mistakes(
    right=_aligned(lambda every, words, place: words[place] in words[:place]),
    wrong={
        "You give every token its word's label, so long words count more often than short ones.": (
            _aligned(lambda every, words, place: False)
        ),
        "You label the last token of each word. Label the first.": (
            _aligned(lambda every, words, place: words[place : place + 1] == words[place + 1 : place + 2])
        ),
        "A word that continues after a None already has its label. Remember which words you labelled.": (
            _aligned(lambda every, words, place: place and words[place] == words[place - 1])
        ),
        "Two neighbouring words can have the same label. Compare words, not labels.": (
            _aligned(lambda every, words, place: place and every[place] == every[place - 1])
        ),
    },
    read=lambda value: [label.item() if hasattr(label, "item") else label for label in value],
    found="For labels {labels} and word_ids {word_ids}, you return {value}. ",
    otherwise=_first_wrong_label,
)


@check(
    begin="loop over `word_ids`. The first token of a word gets the word's label, and all others get -100.",
    expects="a function from word labels and the word of each token to a list of token labels",
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
    yield Right("Each word has its label on its first token; [CLS], [SEP] and padding have none.")


def _names(labels: list[str], ends: bool = True, glued: bool = False, last_type: bool = False) -> set:
    """Return the names as (type, first word, last word); each option makes a mistake."""
    names, start = set(), None
    for place, label in enumerate([*labels, "O"] if ends else labels):
        if start is not None and (label == "O" or (label.startswith("B-") and not glued)):
            names.add((labels[place - 1 if last_type else start][2:], start, place - 1))
            start = None
        if label.startswith("B-") and start is None:
            start = place
    return names


def _counted(names: Callable = _names, key: Callable = lambda name: name) -> Callable:
    """Return a function that counts a name as found if both lists have its key."""

    def count(truth: list[str], answers: list[str]) -> tuple[int, int, int]:
        there, named = names(truth), names(answers)
        return len({*map(key, there)} & {*map(key, named)}), len(named), len(there)

    return count


def _counted_if(right: Callable) -> Callable:
    """Return a function that counts a gold name as found if `right` accepts the labels at its position."""

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
        "You count words. A name of two words is one name.": _words,
        "You return shares. Return whole numbers.": _shares,
        "Your last two numbers are swapped. Return found, predicted and gold, in this order.": (
            lambda truth, answers: [_counted()(truth, answers)[number] for number in (0, 2, 1)]
        ),
        "You count two names of the same type as one. Keep their positions.": (
            _counted(lambda labels: {kind for kind, *_ in _names(labels)})
        ),
        "Half a name does not count as found: both ends and the type must be right.": (
            _counted(key=lambda name: (name[0], name[1]))
        ),
        "The last word is right, but the first is not, so the name is not found.": (
            _counted(key=lambda name: (name[0], name[2]))
        ),
        "The first word is right, but the last is not, so the name is not found.": (
            _counted_if(lambda truth, answers, start, end: truth[start : end + 1] == answers[start : end + 1])
        ),
        "The words are right, but the type is not, so the name is not found.": (
            _counted(key=lambda name: name[1:])
        ),
        "A second B- starts a second name, even directly after the first.": (
            _counted(lambda labels: _names(labels, glued=True))
        ),
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
    found="{case}: gold {truth}, predicted {answers}. You return {value[0]:g}, {value[1]:g}, {value[2]:g}. ",
    otherwise="Predicted names: {right[1]:g}; gold names: {right[2]:g}. How many are in both?",
)


@check(
    begin="first turn each list of labels into a set of names, each (type, first word, last word).",
    expects="a function from two lists of BIO labels to three whole numbers: found, predicted, gold",
)
def counted_names(answer):
    """Lesson 15: count the found, predicted and gold names in one sentence."""
    cases = {
        "The same type twice, once found": ("B-LOC O B-LOC O", "B-LOC O O O"),
        "Both names correct": ("B-PER I-PER O B-LOC O", "B-PER I-PER O B-LOC O"),
        "Half a name": ("B-PER I-PER O O", "B-PER O O O"),
        "The second half of a name": ("B-LOC I-LOC O", "O B-LOC O"),
        "A name that is too long": ("B-PER I-PER O O", "B-PER I-PER I-PER O"),
        "A whole name with another type": ("B-ORG I-ORG O", "B-LOC I-LOC O"),
        "Two names with no word between them": ("B-LOC B-LOC O", "B-LOC B-LOC O"),
        "A name directly after a found name": ("B-LOC O O", "B-LOC B-PER O"),
        "A missed name": ("B-PER O B-LOC O", "O O B-LOC O"),
        "A name where there is none": ("O O O", "O B-ORG O"),
        "A name at the end of the sentence": ("O B-LOC I-LOC", "O B-LOC I-LOC"),
        "A name whose labels have two types": ("B-ORG I-ORG O", "B-LOC I-ORG O"),
    }
    split = {case: tuple(text.split() for text in texts) for case, texts in cases.items()}
    yield from COUNTED_NAMES.compare(answer, split)
    yield Right("You count a name as found only if both ends and the type are right.")
