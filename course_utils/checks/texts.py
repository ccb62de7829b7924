"""Checks for texts: padding, pooling, the labels of word pieces, and names that were found (lesson 10).

Each answer is a function of the student's. A check calls it with small tensors and lists of its own, of which
every usual mistake gives another result.
"""

from collections.abc import Iterator

import torch

from course_utils.checks.evaluation import NO_RETURN
from course_utils.checks.verdict import Right, ask, check, describe

__all__ = ["aligned_labels", "counted_names", "padding_mask", "pooled_by_hand"]

IDS = torch.tensor([[101, 7, 9, 102, 0, 0], [101, 5, 102, 0, 0, 0], [101, 4, 8, 3, 6, 102]])


@check(
    begin="which numbers in `ids` are not padding? Compare all of them with `pad` at once.",
    expects="a function from a tensor of piece numbers and the padding's number to a tensor of 0 and 1",
)
def padding_mask(answer):
    """Check a function that makes the attention mask of a padded batch."""
    for pad in (0, 1):
        ids = torch.where(IDS == 0, pad, IDS)
        value = ask(answer, ids.clone(), pad)
        if value is None:
            yield NO_RETURN
            return
        if not isinstance(value, torch.Tensor) or value.shape != ids.shape:
            yield f"A tensor of the shape {list(ids.shape)} is asked for, and this is {describe(value)}."
            return
        own, wanted = value.long(), (ids != pad).long()
        if not torch.equal(own, wanted):
            yield _mask_mistake(own, wanted, pad)
            return
    yield Right("Each piece is looked at, and no padding, whatever its number is.")


def _mask_mistake(own: torch.Tensor, wanted: torch.Tensor, pad: int) -> str:
    if torch.equal(own, 1 - wanted):
        return "It is turned round: 1 means that a piece is looked at, 0 that it is padding."
    if pad != 0 and own.all():
        return "Here the padding has the number 1, and you look at it: ask for `pad`, not for 0."
    if torch.equal(own, wanted * (IDS != 101) * (IDS != 102)):
        return "[CLS] and [SEP] are pieces like any other here; only padding is left out."
    if own.all():
        return "Everything is 1: then the network reads the padding as if somebody had written it."
    row = int((own != wanted).any(dim=1).nonzero()[0])
    return f"For the pieces {IDS[row].tolist()} your mask is {own[row].tolist()}."


@check(
    begin="multiply each hidden state by 1 or 0, add up over the pieces, and divide by how many there were.",
    expects="a function from hidden states and a mask to one list of numbers for each text",
)
def pooled_by_hand(answer):
    """Check a function that averages the hidden states of the pieces that count."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 6, 4, generator=random)
    for mask in (
        (IDS != 0).long(),
        torch.tensor([[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]),
    ):
        value = ask(answer, hidden.clone(), mask.clone())
        if value is None:
            yield NO_RETURN
            return
        if not isinstance(value, torch.Tensor) or value.shape != (3, 4):
            yield (
                f"For hidden states [3, 6, 4], three texts, a tensor [3, 4] is asked for, and this is "
                f"{describe(value)}."
            )
            return
        weights = mask.unsqueeze(2).float()
        wanted = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        if not torch.allclose(value.float(), wanted, atol=1e-5):
            yield _pooling_mistake(value.float(), hidden, weights)
            return
    yield Right("The mean of what counts, and of nothing else.")


def _pooling_mistake(value: torch.Tensor, hidden: torch.Tensor, weights: torch.Tensor) -> str:
    total = (hidden * weights).sum(dim=1)
    mistakes = (
        (hidden.mean(dim=1), "That is the mean over all six pieces, padding too: where is the mask?"),
        (
            total / hidden.shape[1],
            "The padding is set to 0 and yet counted: divide by how many pieces count in each text.",
        ),
        (total, "That is the sum. A long text would have larger features than a short one: divide."),
        (hidden[:, 0], "That is the first piece alone, [CLS]. Some models are used so, not this one."),
        (total / weights.sum(), "You divide by the pieces of the whole batch. Each text has its own number."),
        ((hidden * weights).amax(dim=1), "That is the largest number of each column, not the mean."),
    )  # fmt: skip
    for result, hint in mistakes:
        if torch.allclose(value, result, atol=1e-5):
            return hint
    return "Begin with one text: which of its pieces count, and what is the mean of their hidden states?"


IGNORED = -100


@check(
    begin="go over `word_ids`. The first piece of a word gets the word's label, all others -100.",
    expects="a function from labels of words and the word of each piece to a label for each piece",
)
def aligned_labels(answer):
    """Check a function that gives the labels of words to the first piece of each."""
    cases = (
        ([1, 2, 0], [None, 0, 0, 1, 2, 2, None]),
        ([4, 4], [None, 0, 1, None]),
        ([0, 3, 0, 5], [None, 0, 1, 1, 1, 2, 3, None, None, None]),
    )
    for labels, word_ids in cases:
        value = ask(answer, list(labels), list(word_ids))
        if value is None:
            yield NO_RETURN
            return
        own = [int(label) if label is not None else None for label in value]
        wanted = [
            labels[word] if word is not None and word_ids[place - 1] != word else IGNORED
            for place, word in enumerate(word_ids)
        ]
        if own != wanted:
            yield _alignment_mistake(own, wanted, labels, word_ids)
            return
    yield Right("One label for each word, on its first piece; nothing on [CLS], [SEP] and padding.")


def _alignment_mistake(own: list, wanted: list, labels: list, word_ids: list) -> str:
    told = f"Words of the pieces {word_ids}, labels {labels}: you give {own}. "
    if len(own) != len(word_ids):
        return told + f"One label for each of the {len(word_ids)} pieces is asked for."
    special = [own[place] for place, word in enumerate(word_ids) if word is None]
    if any(label != IGNORED for label in special):
        return told + f"A piece of no word (None) has no label: it gets {IGNORED}, which the loss leaves out."
    if own == [IGNORED if word is None else labels[word] for word in word_ids]:
        return told + "Every piece has its word's label, so that long words count more often than short ones."
    last = [
        IGNORED if word is None or word_ids[place + 1] == word else labels[word]
        for place, word in enumerate(word_ids)
    ]
    if own == last:
        return told + "That is the last piece of each word; the first is asked for."
    if any(mine == 0 and label == IGNORED for mine, label in zip(own, wanted, strict=True)):
        return told + f"0 is a label: it means no name. A piece that has none gets {IGNORED}."
    if own == [
        IGNORED if previous == label else label
        for previous, label in zip([None, *wanted], wanted, strict=False)
    ]:
        return (
            told + "Two neighbours may have the same label and still be two words: compare words, not labels."
        )
    return told + "Compare each piece's word with that of the piece before it."


# Truth, answer, and what a right count gives: names found, names answered, names there
NAMES = (
    (["B-PER", "I-PER", "O", "B-LOC", "O"], ["B-PER", "I-PER", "O", "B-LOC", "O"], "both names, as they are"),
    (["B-PER", "I-PER", "O", "O"], ["B-PER", "O", "O", "O"], "half of a name"),
    (["B-ORG", "I-ORG", "O"], ["B-LOC", "I-LOC", "O"], "a whole name with another type"),
    (["B-LOC", "B-LOC", "O"], ["B-LOC", "B-LOC", "O"], "two names without a word between them"),
    (["O", "B-PER", "O"], ["O", "O", "O"], "a name that was missed"),
    (["O", "O", "O"], ["O", "B-ORG", "O"], "a name where there is none"),
    (["O", "B-LOC", "I-LOC"], ["O", "B-LOC", "I-LOC"], "a name at the end of the sentence"),
    (["B-LOC", "O", "B-LOC"], ["B-LOC", "O", "O"], "the same type twice, once found"),
)  # fmt: skip


@check(
    begin="first make a set of names out of labels: (type, first word, last word) for each.",
    expects="a function from two lists of BIO labels to three whole numbers: found, answered, there",
)
def counted_names(answer):
    """Check a function that counts the names found, answered and there in one sentence."""
    for truth, answers, what in NAMES:
        value = ask(answer, list(truth), list(answers))
        if value is None:
            yield NO_RETURN
            return
        numbers = [int(number) for number in value]
        if len(numbers) != 3:
            yield f"Three numbers are asked for (found, answered, there), and these are {len(numbers)}."
            return
        there, named = _names(truth), _names(answers)
        wanted = [len(there & named), len(named), len(there)]
        if numbers != wanted:
            yield from _counting_mistake(numbers, wanted, truth, answers, what)
            return
    yield Right("A name is found when both of its ends and its type are right.")


def _names(labels: list[str]) -> set[tuple[str, int, int]]:
    names, start = set(), None
    for place, label in enumerate([*labels, "O"]):
        if start is not None and not label.startswith("I-"):
            names.add((labels[start][2:], start, place - 1))
            start = None
        if label.startswith("B-"):
            start = place
    return names


def _counting_mistake(
    numbers: list[int], wanted: list[int], truth: list[str], answers: list[str], what: str
) -> Iterator[str]:
    told = f"{what.capitalize()}: true {truth}, answered {answers}. You count {numbers}. "
    words = [sum(label != "O" for label in labels) for labels in (answers, truth)]
    if numbers[1:] == words and words != wanted[1:]:
        yield told + "Those are words. A name of two words is one name."
    elif numbers[0] > wanted[0] and what.startswith("half"):
        yield told + "Half of a name is not found: first word, last word and type must be right."
    elif numbers[0] > wanted[0] and "another type" in what:
        yield told + "The words are right, and the type is not: that is no find."
    elif numbers == [wanted[0], wanted[2], wanted[1]]:
        yield told + "The last two are interchanged: first how many were answered, then how many are there."
    elif "without a word between" in what:
        yield told + "A second B begins a second name, even right behind the first."
    elif "at the end" in what:
        yield told + "Nothing comes after the last word to end the name: think of it yourself."
    elif "twice" in what:
        yield told + "Two names of one type are two names: does your list, or set, keep where they stand?"
    else:
        yield told + f"{wanted[1]} were answered and {wanted[2]} are there."
