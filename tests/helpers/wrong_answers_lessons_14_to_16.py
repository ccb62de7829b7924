"""Right and wrong answers to the exercises of lessons 14 to 16, and words of the hint for each wrong one."""

import torch
from table_answers import right_of

plan, counted = right_of("slowest_step"), right_of("counted_names")


def seen(labels, word_ids):
    """Give each word's label once, as a tensor."""
    aligned, given = [], {None}
    for word in word_ids:
        aligned.append(-100 if word in given else labels[word])
        given.add(word)
    return torch.tensor(aligned)


def aligned(skip, skipped=-100, special=-100):
    """Return an answer that gives words' labels to tokens, but `skipped` where `skip` says so."""
    return lambda labels, word_ids: [
        special if word is None else skipped if skip(word_ids, n) else labels[word]
        for n, word in enumerate(word_ids)
    ]


def dealt(total, kept, process, processes):
    return [shard for shard in range(total) if shard not in kept][process::processes]


RIGHT = {
    "padding_mask": [lambda ids, pad: (ids.numpy() != pad).astype(int)],
    "aligned_labels": [lambda *given: seen(*given).numpy()],
    "shards_left": [
        lambda *given: set(dealt(*given)),
        lambda total, kept, process, of: dealt(total, kept, of - 1 - process, of),
    ],
}

WRONG = {
    "padding_mask": [
        (lambda ids, pad: (ids != pad).sum(dim=1), "Expected a tensor of shape [3, 6]"),
        (lambda ids, pad: 0.5 + 0.5 * (ids != pad), "[1.0, 1.0, 1.0, 1.0, 0.5, 0.5]"),
    ],
    "pooled_by_hand": [
        (lambda hidden, mask: hidden[mask == 1].mean(dim=0), "expected a tensor of shape [3, 4]"),
        (lambda hidden, mask: hidden[:, 2], "Start with one text"),
    ],
    "aligned_labels": [
        (aligned(lambda ids, n: False, special=0), "belongs to no word (None) has no label"),
        (aligned(lambda ids, n: ids[n] == ids[n - 1], skipped=0), "0 is a label"),
        (lambda labels, word_ids: labels, "for each of the 7 tokens"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1], skipped=-1), "-1 is not a label here"),
        (aligned(lambda ids, n: not ids[n]), "word_ids[1] starts word 0"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1] != ids[n - 2]), "is not the first of word"),
    ],
    "counted_names": [
        (lambda truth, answers: (*counted(truth, answers)[:2], len(truth)), "gold names: 2"),
    ],
    "images_for_one": [
        (lambda batch, processes, parts: [batch], "Expected a whole number"),
        (lambda batch, processes, parts: batch // (processes * parts) + 1, "you return 33"),
    ],
    "gradient_together": [
        (lambda gradients, images: gradients, "the same shape as each gradient"),
        (lambda gradients, images: gradients[1], "For the counts [3, 1, 4]"),
    ],
    "shards_left": [
        (lambda total, kept, process, of: list(range(process, total, of)), "is already saved"),
        (lambda total, kept, process, of: set(range(total)) - kept, "Once is enough"),
        (
            lambda total, kept, process, of: set(range(process, total - 1, of)) - kept,
            "no process computes shard 5",
        ),
        (lambda total, kept, process, of: set(range(process + 1, total + 1, of)) - kept, "numbered from 0"),
        (lambda total, kept, process, of: total - len(kept), "Expected a list of numbers"),
        (lambda total, kept, process, of: dealt(total, kept, 0, 1) if process == 0 else [], "[6, 0]"),
    ],
    "slowest_step": [
        (lambda images, job, machine: "disk", "Expected three values"),
        (lambda *given: ("Disk", *plan(*given)[1:]), "the rates are"),
        (lambda *given: plan(*given)[::-1], "Expected numbers for hours and price"),
        (lambda *given: (plan(*given)[0], 60, 0), "do not take 60 hours"),
        (lambda *given: (*plan(*given)[:2], 6.0), "an hour do not cost 6"),
    ],
}
