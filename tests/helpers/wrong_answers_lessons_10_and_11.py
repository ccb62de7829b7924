"""Wrong answers to the exercises of lessons 10 and 11, and words of the hint that each must get."""

import itertools
import math
import re

import numpy as np
import torch


def mean_with(divide):
    def pooled(hidden, mask):
        weights = mask.unsqueeze(2).float()
        return (hidden * weights).sum(dim=1) / divide(weights)

    return pooled


def of_real_tokens(hidden, mask, reduce):
    """Return one list of numbers for each text, from the hidden states of its own tokens."""
    return torch.stack([reduce(states[own == 1]) for states, own in zip(hidden, mask, strict=True)])


def written_into(ids, pad):
    real = ids != pad
    ids[real], ids[~real] = 1, 0
    return ids


def zeroed(hidden, mask):
    """Write the zeros of the padding into the hidden states."""
    hidden *= mask.unsqueeze(2)
    return hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True)


def up_to_first(token):
    """Return an answer for which a text ends at the first [SEP]."""
    return lambda ids, pad: ((ids == token).cumsum(dim=1) - (ids == token).long() < 1) & (ids != pad)


def of_so_many(ids, pad):
    """Count each text's tokens, and take that many from the left."""
    return torch.arange(ids.shape[1]) < (ids != pad).sum(dim=1, keepdim=True)


def first_places(labels, word_ids):
    """Find each word's first token by its number."""
    places = {word_ids.index(number): label for number, label in enumerate(labels)}
    return tuple(places.get(place, -100) for place in range(len(word_ids)))


def seen(labels, word_ids):
    """Give each word's label once, as a tensor."""
    aligned, given = [], {None}
    for word in word_ids:
        aligned.append(-100 if word in given else labels[word])
        given.add(word)
    return torch.tensor(aligned)


def after_another(labels, word_ids):
    """Give a label where the word is another than that of the token before."""
    pairs = zip(word_ids, [None, *word_ids], strict=False)
    return [-100 if word is None or word == before else labels[word] for word, before in pairs]


def used_up(labels, word_ids):
    """Take each label off the list."""
    return [
        labels.pop(0) if word is not None and word not in word_ids[:place] else -100
        for place, word in enumerate(word_ids)
    ]


def by_label(labels, word_ids):
    """Give a label where it is another one than that of the token before."""
    every = [-100 if word is None else labels[word] for word in word_ids]
    return [-100 if n and every[n - 1] == label else label for n, label in enumerate(every)]


def aligned(skip, skipped=-100, special=-100):
    """Return an answer that gives words' labels to tokens, but `skipped` where `skip` says so."""
    return lambda labels, word_ids: [
        special if word is None else skipped if skip(word_ids, n) else labels[word]
        for n, word in enumerate(word_ids)
    ]


def names_of(labels, ends=True, glued=False, last_type=False):
    names, start = set(), None
    for place, label in enumerate([*labels, "O"] if ends else labels):
        if start is not None and (label == "O" or (label.startswith("B-") and not glued)):
            names.add((labels[place - 1 if last_type else start][2:], start, place - 1))
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


def by_letters(labels):
    """Join the labels to one text, and let a pattern find names; places are those of letters."""
    return {(match[0], match.start()) for match in re.finditer(r"B-\S+(?: I-\S+)*", " ".join(labels))}


def by_first_letters(labels):
    """The same with one letter for each word, which is as good as a place."""
    found = re.finditer("BI*", "".join(label[0] for label in labels))
    return {(labels[match.start()][2:], *match.span()) for match in found}


def from_each_begin(labels):
    """Begin at each B-, and go on while there is an I-."""
    for start, label in enumerate(labels):
        if label[0] == "B":
            inside = itertools.takewhile(lambda label: label[0] == "I", labels[start + 1 :])
            yield label, start, len(list(inside))


def found_if(right):
    """Return an answer that goes over the true names, and asks whether each was answered rightly."""

    def count(truth, answers):
        there = names_of(truth)
        found = sum(right(truth, answers, start, end) for _, start, end in there)
        return found, len(names_of(answers)), len(there)

    return count


def shares(truth, answers):
    found, named, there = counted()(truth, answers)
    return [found / max(named, 1), found / max(there, 1), 2 * found / max(named + there, 1)]


def words(truth, answers):
    right = sum(a == b != "O" for a, b in zip(truth, answers, strict=True))
    return right, sum(a != "O" for a in answers), sum(a != "O" for a in truth)


def weighted(gradients, images):
    return sum(count * gradient for gradient, count in zip(gradients, images, strict=True))


def dealt(total, kept, process, processes):
    return [shard for shard in range(total) if shard not in kept][process::processes]


def in_a_row(total, kept, process, processes):
    """Give each process as many neighbours, and forget what is left over."""
    missing = dealt(total, kept, 0, 1)
    share = len(missing) // processes
    return missing[process * share : (process + 1) * share]


def rates(job, machine):
    return {
        "disk": machine["disk"] / job["bytes"],
        "decode": machine["cores"] / job["decode"],
        "network": machine["cards"] / job["network"],
    }


def rates_of_one(job, machine):
    return rates(job, machine | {"cores": 1, "cards": 1})


def rates_in_turn(job, machine):
    return dict.fromkeys(["disk", "decode", "network"], 1 / sum(1 / r for r in rates(job, machine).values()))


def planned(choose=min, named_by=rates, timed_by=rates, seconds=3600, price=1.0):
    """Return a plan that names a step by some rates and takes the hours from others."""

    def plan(images, job, machine):
        named = named_by(job, machine)
        name = choose(named, key=named.get)
        hours = images / timed_by(job, machine)[name] / seconds
        return name, hours, hours * machine["price"] * price

    return plan


RIGHT = {
    "padding_mask": [
        lambda ids, pad: ids != pad,
        lambda ids, pad: (ids != pad).float(),
        lambda ids, pad: 1 - ids.eq(pad).int(),
        lambda ids, pad: torch.where(ids == pad, 0.0, 1.0).double(),
        lambda ids, pad: torch.tensor([[int(token != pad) for token in text] for text in ids.tolist()]),
        lambda ids, pad: torch.sign((ids - pad).abs()),
        lambda ids, pad: (ids.numpy() != pad).astype(int),
    ],
    "pooled_by_hand": [
        lambda hidden, mask: of_real_tokens(hidden, mask, lambda own: own.mean(dim=0)),
        mean_with(lambda weights: weights.sum(dim=1).clamp(min=1e-9)),
        lambda hidden, mask: hidden.masked_fill(mask[..., None] == 0, math.nan).nanmean(dim=1),
        lambda hidden, mask: torch.einsum("btw,bt->bw", hidden, mask / mask.sum(dim=1, keepdim=True)),
        lambda hidden, mask: ((mask / mask.sum(1, True)).unsqueeze(1).double() @ hidden.double())[:, 0],
    ],
    "aligned_labels": [first_places, seen, lambda *given: seen(*given).numpy()],
    "counted_names": [
        counted(by_first_letters),
        lambda *given: torch.tensor(counted()(*given)),
        counted(lambda labels: set(from_each_begin(labels))),
        lambda truth, answers: np.array(counted()(truth, answers)),
        lambda truth, answers: map(float, counted()(truth, answers)),
    ],
    "images_for_one": [
        lambda batch, processes, parts: math.ceil(batch / (processes * parts)),
        lambda batch, processes, parts: float(-(-batch // (processes * parts))),
        lambda batch, processes, parts: torch.tensor(-(-batch // (processes * parts))),
    ],
    "gradient_together": [
        lambda gradients, images: weighted(gradients, images).double() / sum(images),
        lambda gradients, images: torch.tensor(images).float() @ torch.stack(gradients) / sum(images),
    ],
    "shards_left": [
        lambda *given: torch.tensor(dealt(*given)),
        lambda *given: set(dealt(*given)),
        lambda total, kept, process, of: dealt(total, kept, of - 1 - process, of),
    ],
    "slowest_step": [lambda *given: list(planned()(*given)), planned()],
}

WRONG = {
    "padding_mask": [
        (lambda ids, pad: (ids == pad).long(), "the wrong way round"),
        (lambda ids, pad: (ids != 0).long(), "ask for `pad`, not for 0"),
        (lambda ids, pad: torch.ones_like(ids), "reads the padding"),
        (lambda ids, pad: ((ids != pad) & (ids < 100)).long(), "only padding is left out"),
        (lambda ids, pad: (ids != pad).sum(dim=1), "of the shape [3, 6]"),
        (lambda ids, pad: 0.5 + 0.5 * (ids != pad), "[1.0, 1.0, 1.0, 1.0, 0.5, 0.5]"),
        (lambda ids, pad: 2 * (ids != pad), "your mask is [2"),
        (lambda ids, pad: (ids != pad).long() * (ids != 7), "For the tokens [101, 7, 9, 102, 0, 0]"),
        (lambda ids, pad: ids > 1 if pad == 0 else ids > 3, "For the tokens [0, 7, 9, 102, 1, 1], padded"),
        (up_to_first(102), "For the tokens [101, 4, 102, 3, 6, 102]"),
        (of_so_many, "the padding on the left"),
        (lambda ids, pad: (ids != 0) & (ids != pad), "0 is a token like any other"),
        (written_into, "Your function changes its input, a tensor [3, 6] of int64"),
        (lambda ids, pad: (ids == pad) * -1e9, "your mask is [-0.0"),
        (lambda ids, pad: (ids != pad).tolist(), "Give a tensor of the shape [3, 6]"),
        (lambda ids, pad: (ids != pad)[..., None], "Give a tensor of the shape [3, 6]"),
        (lambda ids, pad: (ids != pad).any(dim=0), "Give a tensor of the shape [3, 6]"),
        (lambda ids, pad: torch.where(ids != pad, ids, 0), "your mask is [101"),
        (lambda ids, pad: ids / ids, "nan"),
        (lambda ids: ids != 0, "stops"),
    ],
    "pooled_by_hand": [
        (lambda hidden, mask: hidden.mean(dim=1), "where is the mask?"),
        (mean_with(lambda weights: weights.shape[1]), "set to 0 and yet counted"),
        (mean_with(lambda weights: 1), "That is the sum"),
        (mean_with(lambda weights: weights.sum()), "the whole batch"),
        (zeroed, "Your function changes its input, a tensor [3, 6, 4]"),
        (
            lambda hidden, mask: hidden.mul(mask[..., None]).sum(1) / (hidden * mask[..., None] != 0).sum(1),
            "A 0 in a hidden state",
        ),
        (
            lambda hidden, mask: (
                hidden.mul(mask[..., None]).sum(1) / hidden.mul(mask[..., None]).any(2).sum(1)[:, None]
            ),
            "is not padding",
        ),
        (lambda hidden, mask: hidden[:, 0], "the first token alone"),
        (lambda hidden, mask: hidden[mask == 1].mean(dim=0), "give a tensor [3, 4]"),
        (mean_with(lambda weights: weights.sum(dim=1).sqrt()), "the root"),
        (mean_with(lambda weights: weights.sum(dim=1, keepdim=True)), "give a tensor [3, 4]"),
        (lambda hidden, mask: hidden[:, -1], "the last token alone"),
        (lambda hidden, mask: of_real_tokens(hidden, mask, lambda own: own[-1]), "Begin with one"),
        (lambda hidden, mask: of_real_tokens(hidden, mask, lambda own: own.amax(dim=0)), "the largest"),
        (lambda hidden, mask: of_real_tokens(hidden, mask, lambda own: own[1:-1].sum(0)), "Begin with one"),
        (lambda hidden, mask: (mask.float().softmax(1)[..., None] * hidden).sum(1), "Begin with one text"),
        (lambda hidden, mask: (hidden * mask).mean(dim=1), "stops"),
        (lambda hidden, mask: hidden.mean(dim=2), "a tensor [3, 6] of float32"),
        (
            lambda hidden, mask: torch.stack(
                [h[: m.sum()].mean(0) for h, m in zip(hidden, mask, strict=True)]
            ),
            "which of its tokens count",
        ),
    ],
    "aligned_labels": [
        (aligned(lambda ids, n: False), "long words count more often"),
        (aligned(lambda ids, n: ids[n] == ids[n + 1]), "take the first"),
        (by_label, "compare words, not labels"),
        (after_another, "after a token of no word"),
        (used_up, "Your function changes its input, [1, 2, 0]"),
        (aligned(lambda ids, n: False, special=0), "A token of no word (None) has no label"),
        (aligned(lambda ids, n: ids[n] == ids[n - 1], skipped=0), "0 is a label"),
        (lambda labels, word_ids: labels, "for each of the 7 tokens"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1], skipped=-1), "-1 is no label"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1], skipped=100), "100 is no label"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1], skipped=None), "None is no label"),
        (aligned(lambda ids, n: n and ids[n] == ids[n - 1], special=None), "None is no label"),
        (aligned(lambda ids, n: not ids[n]), "word_ids[1] begins word 0"),
        (
            lambda labels, word_ids: [label or -100 for label in seen(labels, word_ids)],
            "word_ids[4] begins word 2",
        ),
        (lambda labels, word_ids: seen([labels[-1], *labels], word_ids), "word_ids[1] begins word 0"),
        (lambda labels, word_ids: [labels[n] for n, word in enumerate(word_ids)], "stops"),
        (aligned(lambda ids, n: ids[n] == ids[n - 1]), "word_ids[0] begins word 0"),
        (lambda labels, word_ids: list(map(str, seen(labels, word_ids).tolist())), "'-100' is no label"),
        (lambda labels, word_ids: seen([label + 0.5 for label in labels], word_ids), "1.5 is no label"),
    ],
    "counted_names": [
        (words, "Those are words"),
        (counted(alike=lambda name: name[:2]), "Half of a name is not found"),
        (counted(alike=lambda name: name[1:]), "the type is not"),
        (counted(turn=True), "swapped"),
        (counted(lambda labels: names_of(labels, last_type=True)), "that of its B-"),
        (counted(lambda labels: names_of(labels, glued=True)), "A second B begins"),
        (counted(lambda labels: names_of(labels, ends=False)), "Nothing comes after"),
        (counted(lambda labels: {name[0] for name in names_of(labels)}), "Two names of one type"),
        (lambda truth, answers: (1, 1), "should give 3 numbers"),
        (counted(alike=lambda name: (name[0], name[2])), "The second half of a name"),
        (
            found_if(lambda truth, answers, start, end: truth[start : end + 1] == answers[start : end + 1]),
            "goes on",
        ),
        (
            found_if(lambda truth, answers, start, end: truth[start : end + 2] == answers[start : end + 2]),
            "no I- follows",
        ),
        (lambda truth, answers: (*counted()(truth, answers)[:2], len(truth)), "there: 2"),
        (counted(by_letters), "A name that was missed"),
        (shares, "Those are shares"),
        (lambda truth, answers: names_of(truth) & names_of(answers), "should give 3 numbers"),
        (lambda truth, answers: " ".join(map(str, counted()(truth, answers))), "should give 3 numbers"),
        (lambda truth, answers: [[number] for number in words(truth, answers)], "should give 3 numbers"),
        (lambda truth, answers: [names_of(truth) & names_of(answers), 2, 2], "should give 3 numbers"),
        (counted(lambda labels: {name for name in names_of(labels) if name[1]}), "Answered: 1, there: 2"),
    ],
    "images_for_one": [
        (lambda batch, processes, parts: batch, "what do the other processes do?"),
        (lambda batch, processes, parts: batch * processes, "does not become larger"),
        (lambda batch, processes, parts: math.ceil(batch / processes), "part by part"),
        (lambda batch, processes, parts: batch // processes // parts, "Round up"),
        (lambda batch, processes, parts: batch / processes / parts, "Round up"),
        (lambda batch, processes, parts: [batch], "A whole number should come back"),
        (lambda batch, processes, parts: batch // (processes * parts) + 1, "you give 33"),
        (lambda batch, processes, parts: batch * parts // processes, "you give"),
        (lambda batch, processes, parts: processes * parts, "you give 1."),
        (lambda batch, processes, parts: float("nan"), "A whole number should come back"),
        (lambda batch, processes, parts: print(batch), "A whole number should come back"),
        (lambda batch, processes, parts: str(batch), "A whole number should come back"),
    ],
    "gradient_together": [
        (lambda gradients, images: sum(gradients) / len(gradients), "counts each process the same"),
        (lambda gradients, images: sum(gradients), "the sum of the means"),
        (weighted, "Divide by how many"),
        (lambda gradients, images: weighted(gradients, images) / 3, "divided by the number of processes"),
        (lambda gradients, images: gradients[0], "the first process alone"),
        (lambda gradients, images: weighted(gradients, images).mean(), "like each of the gradients"),
        (lambda gradients, images: weighted(gradients, images) / 8, "For the counts [5, 2, 2]"),
        (lambda gradients, images: weighted(gradients, images).tolist(), "like each of the gradients"),
        (lambda gradients, images: torch.stack(gradients), "like each of the gradients"),
        (lambda gradients, images: torch.stack(gradients).median(dim=0).values, "you give"),
        (lambda gradients, images: gradients[images.index(max(images))], "you give"),
        (lambda gradients, images: weighted(gradients, images[::-1]) / sum(images), "you give"),
        (lambda gradients, images: print(gradients), "like each of the gradients"),
        (lambda gradients, images: gradients[0] * 0, "you give [0.0, 0.0, 0.0]"),
    ],
    "shards_left": [
        (lambda total, kept, process, of: list(range(process, total, of)), "is kept already"),
        (lambda total, kept, process, of: set(range(total)) - kept, "once is enough"),
        (lambda total, kept, process, of: set(range(process, total - 1, of)) - kept, "nobody makes shard 5"),
        (lambda total, kept, process, of: set(range(process + 1, total + 1, of)) - kept, "counted from 0"),
        (lambda total, kept, process, of: total - len(kept), "A list of numbers"),
        (lambda total, kept, process, of: dealt(total, kept, 0, 1) if process == 0 else [], "[6, 0]"),
        (lambda total, kept, process, of: dealt(total, kept, 0, 1) if process == of - 1 else [], "[0, 6]"),
        (lambda total, kept, process, of: [n for n in range(process, total, of) if n not in kept], "[1, 3]"),
        (lambda total, kept, process, of: in_a_row(total, kept, process, of), "nobody makes shard 4"),
        (lambda total, kept, process, of: dealt(total, kept, process, of)[0], "A list of numbers"),
        (lambda total, kept, process, of: str(dealt(total, kept, process, of)), "A list of numbers"),
        (lambda total, kept, process, of: sorted(kept)[process::of], "nobody makes shard 0"),
    ],
    "slowest_step": [
        (planned(choose=max), "which is the fastest"),
        (planned(named_by=rates_of_one, timed_by=rates_of_one), "cores, and all"),
        (planned(seconds=1), "are seconds"),
        (planned(timed_by=rates_in_turn), "one after the other"),
        (planned(timed_by=rates_of_one), "only one core"),
        (planned(price=3600), "for every second"),
        (lambda images, job, machine: "disk", "Three things should come back"),
        (lambda *given: planned()(*given)[0].title(), "Three things should come back"),
        (lambda *given: (planned()(*given)[0].title(), *planned()(*given)[1:]), "but the rates are"),
        (lambda *given: planned()(*given)[:2], "Three things should come back"),
        (lambda *given: planned()(*given)[::-1], "Hours and price should be numbers"),
        (lambda *given: (*planned()(*given)[:2], float("nan")), "Hours and price should be numbers"),
        (lambda *given: (*planned()(*given)[:2], 6.0), "an hour are not 6"),
        (planned(seconds=60), "not 60 hours"),
        (lambda *given: ("disk", *planned()(*given)[1:]), "You name 'disk'"),
    ],
}
