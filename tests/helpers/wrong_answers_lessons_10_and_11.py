"""Wrong answers to the exercises of lessons 10 and 11, and words of the hint that each must get."""

from table_answers import right_of

plan, counted = right_of("slowest_step"), right_of("counted_names")


def dealt(total, kept, process, processes):
    return [shard for shard in range(total) if shard not in kept][process::processes]


WRONG = {
    "shards_left": [
        (lambda total, kept, process, of: list(range(process, total, of)), "is kept already"),
        (lambda total, kept, process, of: set(range(total)) - kept, "once is enough"),
        (lambda total, kept, process, of: set(range(process, total - 1, of)) - kept, "nobody makes shard 5"),
        (lambda total, kept, process, of: set(range(process + 1, total + 1, of)) - kept, "counted from 0"),
        (lambda total, kept, process, of: total - len(kept), "A list of numbers"),
        (lambda total, kept, process, of: dealt(total, kept, 0, 1) if process == 0 else [], "[6, 0]"),
    ],
}
