"""Wrong answers to the exercises of lesson 10, and words of the hint that each must get.

`RIGHT` has, for each check, the lesson and the names in its solution that are the answers; `WRONG` has the
check, the answer, or a tuple of answers, and the words.
"""

import torch

RIGHT = [
    ("10", "padding_mask", ["mask_of"]),
    ("10", "pooled_by_hand", ["pooled"]),
    ("10", "aligned_labels", ["align"]),
    ("10", "counted_names", ["count_names"]),
]


def mean_with(divide):
    def pooled(hidden, mask):
        weights = mask.unsqueeze(2).float()
        return (hidden * weights).sum(dim=1) / divide(weights)

    return pooled


def by_label(labels, word_ids):
    """Give a label where it is another one than that of the piece before."""
    every = [-100 if word is None else labels[word] for word in word_ids]
    return [-100 if n and every[n - 1] == label else label for n, label in enumerate(every)]


def first_pieces(labels, word_ids, without=-100):
    return [
        labels[word] if word is not None and word_ids[n - 1] != word else without
        for n, word in enumerate(word_ids)
    ]


def last_pieces(labels, word_ids):
    after = [*word_ids[1:], None]
    return [
        labels[word] if word is not None and after[n] != word else -100 for n, word in enumerate(word_ids)
    ]


def names_of(labels, ends=True, glued=False):
    names, start = set(), None
    for place, label in enumerate([*labels, "O"] if ends else labels):
        if start is not None and (label == "O" or (label.startswith("B-") and not glued)):
            names.add((labels[start][2:], start, place - 1))
            start = None
        if label.startswith("B-") and start is None:
            start = place
    return names


def counted(names=names_of, alike=lambda name: name, turn=False):
    def count(truth, answers):
        there, named = names(truth), names(answers)
        found = {alike(name) for name in there} & {alike(name) for name in named}
        sizes = [len(named), len(there)]
        return [len(found), *(sizes[::-1] if turn else sizes)]

    return count


def words(truth, answers):
    right = sum(a == b != "O" for a, b in zip(truth, answers, strict=True))
    return right, sum(a != "O" for a in answers), sum(a != "O" for a in truth)


WRONG = [
    ("padding_mask", lambda ids, pad: (ids == pad).long(), "turned round"),
    ("padding_mask", lambda ids, pad: (ids != 0).long(), "ask for `pad`, not for 0"),
    ("padding_mask", lambda ids, pad: torch.ones_like(ids), "reads the padding"),
    ("padding_mask", lambda ids, pad: ((ids != pad) & (ids < 100)).long(), "only padding is left out"),
    ("padding_mask", lambda ids, pad: (ids != pad).sum(dim=1), "of the shape [3, 6]"),
    ("pooled_by_hand", lambda hidden, mask: hidden.mean(dim=1), "where is the mask?"),
    ("pooled_by_hand", mean_with(lambda weights: weights.shape[1]), "set to 0 and yet counted"),
    ("pooled_by_hand", mean_with(lambda weights: 1), "That is the sum"),
    ("pooled_by_hand", mean_with(lambda weights: weights.sum()), "the whole batch"),
    ("pooled_by_hand", lambda hidden, mask: hidden[:, 0], "the first piece alone"),
    ("pooled_by_hand", lambda hidden, mask: hidden[mask == 1].mean(dim=0), "[3, 4] is asked for"),
    (
        "aligned_labels",
        lambda labels, word_ids: [-100 if w is None else labels[w] for w in word_ids],
        "long words count more often",
    ),
    ("aligned_labels", last_pieces, "the first is asked for"),
    ("aligned_labels", by_label, "compare words, not labels"),
    (
        "aligned_labels",
        lambda labels, word_ids: [0 if word is None else labels[word] for word in word_ids],
        "A piece of no word (None) has no label",
    ),
    (
        "aligned_labels",
        lambda labels, word_ids: [
            0 if a == -100 and w is not None else a
            for a, w in zip(first_pieces(labels, word_ids), word_ids, strict=True)
        ],
        "0 is a label",
    ),
    ("aligned_labels", lambda labels, word_ids: labels, "for each of the 7 pieces"),
    ("counted_names", words, "Those are words"),
    ("counted_names", counted(alike=lambda name: name[:2]), "Half of a name is not found"),
    ("counted_names", counted(alike=lambda name: name[1:]), "the type is not"),
    ("counted_names", counted(turn=True), "interchanged"),
    ("counted_names", counted(lambda labels: names_of(labels, glued=True)), "A second B begins"),
    ("counted_names", counted(lambda labels: names_of(labels, ends=False)), "Nothing comes after"),
    ("counted_names", counted(lambda labels: {name[0] for name in names_of(labels)}), "Half of a name"),
    ("counted_names", lambda truth, answers: (1, 1), "Three numbers"),
]
