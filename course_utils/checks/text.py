"""Checks of lesson 10: padding, pooling, the labels of tokens, and names that were found."""

from functools import partial

import numpy as np
import torch

from course_utils.checks.values import describe, first_difference, known_mistake
from course_utils.checks.verdict import Right, Wrong, as_numbers, ask_value, check

# Padding on the right, padding on the left, and a pair of texts without any
IDS = torch.tensor([[101, 7, 9, 102, 0, 0], [0, 0, 0, 101, 5, 102], [101, 4, 102, 3, 6, 102]])


@check(
    begin="which numbers in `ids` are not padding? Compare all of them with `pad` at once.",
    expects="a function from a tensor of token numbers and the padding's number to a tensor of 0 and 1",
)
def padding_mask(answer):
    """Lesson 10: the attention mask of a padded batch."""
    # As BERT numbers its tokens, and as RoBERTa does: there 0 begins a text, and 1 is the padding
    for pad, first in ((0, 101), (1, 0)):
        ids = torch.where(IDS == 0, pad, torch.where(IDS == 101, first, IDS))
        value = ask_value(answer, ids.clone(), pad)
        value = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        if not isinstance(value, torch.Tensor) or value.shape != ids.shape:
            raise Wrong(f"Give a tensor of the shape {list(ids.shape)}; this is {describe(value)}.")
        own, wanted = value.float(), (ids != pad).float()
        if not torch.equal(own, wanted):
            raise Wrong(_mask_mistake(own, wanted, ids, pad))
    yield Right("Every token is looked at, and no padding, whatever the number of the padding is.")


def _mask_mistake(own: torch.Tensor, wanted: torch.Tensor, ids: torch.Tensor, pad: int) -> str:
    if torch.equal(own, 1 - wanted):
        return "It is the wrong way round: 1 means that a token is looked at, 0 that it is padding."
    if torch.equal(own, (ids != 0).float()):
        return "Here the padding has the number 1, and you look at it: ask for `pad`, not for 0."
    if torch.equal(own, wanted * (ids != 0)):
        return "Where the padding has the number 1, 0 is a token like any other: ask for `pad` alone."
    if torch.equal(own, (torch.arange(ids.shape[1]) < wanted.sum(dim=1, keepdim=True)).float()):
        return "Some tokenizers put the padding on the left: ask each token, not how many there are."
    if torch.equal(own, wanted * (IDS != 101) * (IDS != 102)):
        return "[CLS] and [SEP] are tokens like any other here; only padding is left out."
    if (own == 1).all():
        return "Everything is 1: then the network reads the padding as if somebody had written it."
    row = int((own != wanted).any(dim=1).nonzero()[0])
    return f"For the tokens {ids[row].tolist()}, padded with {pad}, your mask is {own[row].tolist()}."


@check(
    begin="multiply each hidden state by 1 or 0, add up over the tokens, and divide by how many there were.",
    expects="a function from hidden states and a mask to one list of numbers for each text",
)
def pooled_by_hand(answer):
    """Lesson 10: the mean of the hidden states of the tokens that count."""
    hidden = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    hidden[:, 1] = hidden[0, 2, 3] = 0  # a hidden state may be 0, and its token counts all the same
    agrees = partial(torch.allclose, atol=1e-5)
    other_mask = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])
    for mask in ((IDS != 0).long(), other_mask):
        value = ask_value(answer, hidden.clone(), mask.clone())
        if not isinstance(value, torch.Tensor) or value.shape != (3, 4):
            raise Wrong(
                f"For hidden states [3, 6, 4], three texts, give a tensor [3, 4]; this is {describe(value)}."
            )
        weights = mask.unsqueeze(2).float()
        weighted = hidden * weights
        total, padded, count = weighted.sum(dim=1), weighted.mean(dim=1), weights.sum(dim=1)
        mistakes = {
            "That is the mean over all six tokens, padding too: where is the mask?": hidden.mean(dim=1),
            "The padding is set to 0 and yet counted: divide by how many tokens count in each text.": padded,
            "That is the sum. A long text would have larger features than a short one: divide.": total,
            "That is the first token alone, [CLS]. Some models do that, not this one.": hidden[:, 0],
            "That is the last token alone. Take the mean of all that count.": hidden[:, -1],
            "You divide by the root of how many tokens count. Divide by how many.": total / count.sqrt(),
            "You divide by the tokens of the whole batch. Each text has its own number.": total / count.sum(),
            "That is the largest number of each column, not the mean.": weighted.amax(dim=1),
            "A hidden state of zeros is not padding: only the mask says which tokens count.": (
                total / weighted.any(dim=2).sum(dim=1, keepdim=True)
            ),
            "A 0 in a hidden state is a number like any other: count tokens by the mask.": (
                total / (weighted != 0).sum(dim=1)
            ),
        }
        if not agrees(value.float(), total / count):
            other = (
                "Begin with one text: which of its tokens count, and what is the mean of their hidden states?"
            )
            raise Wrong(known_mistake(value.float(), mistakes, agrees) or other)
    yield Right("The mean of the tokens that count.")


IGNORED = -100


@check(
    begin="go over `word_ids`. The first token of a word gets the word's label, all others -100.",
    expects="a function from labels of words and the word of each token to a label for each token",
)
def aligned_labels(answer):
    """Lesson 10: the labels of words, each on the first token of its word."""
    for labels, word_ids in (
        ([1, 2, 0], [None, 0, 0, 1, 2, 2, None]),
        ([4, 4], [None, 0, 1, None]),
        ([0, 3, 0, 5], [None, 0, 1, 1, 1, 2, 3, None, None, None]),
        ([3], [0, 0]),  # a tokenizer without [CLS] and [SEP]
        ([2, 6], [None, 0, 0, None, 0, 1, None]),  # a token of no word inside a word
    ):
        value = ask_value(answer, list(labels), list(word_ids))
        own = [label.item() if hasattr(label, "item") else label for label in value]
        every = [IGNORED if word is None else labels[word] for word in word_ids]
        if own != _on_first_tokens(every, word_ids):
            hint = _alignment_mistake(own, every, word_ids)
            raise Wrong(f"Words of the tokens {word_ids}, labels {labels}: you give {own}. {hint}")
    yield Right("One label for each word, on its first token; none on [CLS], [SEP] and padding.")


def _on_first_tokens(every: list, word_ids: list) -> list:
    """Return the labels of all tokens, but IGNORED where a word has had its label."""
    pairs = enumerate(zip(every, word_ids, strict=True))
    return [label if word not in word_ids[:place] else IGNORED for place, (label, word) in pairs]


def _where_changed(labels: list, own: list, neighbours: list) -> list:
    """Return the labels, but IGNORED where a token has what its neighbour has."""
    changed = zip(labels, own, neighbours, strict=False)
    return [IGNORED if one == neighbour else label for label, one, neighbour in changed]


def _alignment_mistake(own: list, every: list, word_ids: list) -> str:
    if len(own) != len(word_ids):
        return f"Give one label for each of the {len(word_ids)} tokens."
    if odd := [label for label in own if label not in (*every, IGNORED)]:
        return f"{odd[0]!r} is no label: a token gets its word's label, or the number {IGNORED}."
    if any(label != IGNORED for label, word in zip(own, word_ids, strict=True) if word is None):
        return f"A token of no word (None) has no label: it gets {IGNORED}, which the loss leaves out."
    if own == every:
        return "Every token has its word's label, so that long words count more often than short ones."
    if own == _where_changed(every, word_ids, [*word_ids[1:], None]):
        return "That is the last token of each word; take the first."
    wanted = _on_first_tokens(every, word_ids)
    if any(
        mine == 0 != its and right == IGNORED for mine, its, right in zip(own, every, wanted, strict=True)
    ):
        return f"0 is a label: it means no name. A token that has none gets {IGNORED}."
    if own == _where_changed(every, word_ids, [None, *word_ids]):
        return "A word that goes on after a token of no word (None) has had its label: remember it."
    if own == _where_changed(wanted, wanted, [None, *wanted]):
        return "Two neighbours may have the same label and still be two words: compare words, not labels."
    place = first_difference(own, wanted) - 1
    if wanted[place] == IGNORED:
        return (
            f"The token at word_ids[{place}] is not the first of word {word_ids[place]}, and gets {IGNORED}."
        )
    return f"The token at word_ids[{place}] begins word {word_ids[place]}, whose label is {wanted[place]}."


# What a case is about, the truth, the answer, and the right count: names found, answered and there
NAMES = (
    ("The same type twice, once found", "B-LOC O B-LOC O", "B-LOC O O O", [1, 1, 2]),
    ("Both names, as they are", "B-PER I-PER O B-LOC O", "B-PER I-PER O B-LOC O", [2, 2, 2]),
    ("Half of a name", "B-PER I-PER O O", "B-PER O O O", [0, 1, 1]),
    ("The second half of a name", "B-LOC I-LOC O", "O B-LOC O", [0, 1, 1]),
    ("A name that goes on too long", "B-PER I-PER O O", "B-PER I-PER I-PER O", [0, 1, 1]),
    ("A whole name with another type", "B-ORG I-ORG O", "B-LOC I-LOC O", [0, 1, 1]),
    ("Two names without a word between them", "B-LOC B-LOC O", "B-LOC B-LOC O", [2, 2, 2]),
    ("A name right behind one that is found", "B-LOC O O", "B-LOC B-PER O", [1, 2, 1]),
    ("A name that was missed", "B-PER O B-LOC O", "O O B-LOC O", [1, 1, 2]),
    ("A name where there is none", "O O O", "O B-ORG O", [0, 1, 0]),
    ("A name at the end of the sentence", "O B-LOC I-LOC", "O B-LOC I-LOC", [1, 1, 1]),
    ("A name whose labels name two types", "B-ORG I-ORG O", "B-LOC I-ORG O", [0, 1, 1]),
)
# What a usual mistake counts in a case, and its hint
_HINTS = {
    "The same type twice, once found": ([1, 1, 1], "Two names of one type are two: keep where they stand."),
    "Half of a name": ([1, 1, 1], "Half of a name is not found: both ends and the type must be right."),
    "The second half of a name": ([1, 1, 1], "The last word is right, but the first is not: not found."),
    "A name that goes on too long": ([1, 1, 1], "The first word is right, but the last is not: not found."),
    "A whole name with another type": ([1, 1, 1], "The words are right, but the type is not: not found."),
    "Two names without a word between them": ([1, 1, 1], "A second B begins a second name, even there."),
    "A name right behind one that is found": (
        [0, 2, 1],
        "A name ends where no I- follows, whatever comes next.",
    ),
    "A name whose labels name two types": ([1, 1, 1], "The type of a name is that of its B-, the first."),
    "A name at the end of the sentence": ([0, 0, 0], "Nothing comes after the last word to end the name."),
}


@check(
    begin="first make a set of names out of labels: (type, first word, last word) for each.",
    expects="a function from two lists of BIO labels to three whole numbers: found, answered, there",
)
def counted_names(answer):
    """Lesson 10: how many names were found, answered and there in one sentence."""
    for case, *texts, wanted in NAMES:
        truth, answers = (text.split() for text in texts)
        numbers = list(as_numbers(ask_value(answer, list(truth), list(answers)), 3))
        words = [sum(label != "O" for label in labels) for labels in (answers, truth)]
        if numbers == wanted:
            continue
        if numbers[1:] == words != wanted[1:]:
            hint = "Those are words. A name of two words is one name."
        elif any(number % 1 for number in numbers):
            hint = "Those are shares. Give whole numbers."
        elif numbers == [wanted[0], wanted[2], wanted[1]]:
            hint = "The last two are swapped: first how many were answered, then how many are there."
        else:
            mistaken, known = _HINTS.get(case, (None, None))
            hint = known if numbers == mistaken else f"Answered: {wanted[1]}, there: {wanted[2]}."
        counts = ", ".join(f"{number:g}" for number in numbers)
        raise Wrong(f"{case}: true {truth}, answered {answers}. You count {counts}. {hint}")
    yield Right("A name is found when both of its ends and its type are right.")
