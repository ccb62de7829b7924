"""Fair comparisons for texts, by the rules of `course_utils.evaluation.comparison` (lesson 14).

Each learning rate is as good as the best of its trials. Every way to initialise has the same number of
trials, on validation texts and with seeds that no reported run uses (`benchmarks/text_rates.py`).
"""

from course_utils.evaluation.comparison import InitStrategy, Run, train_and_test
from course_utils.evaluation.metrics import Evaluation
from course_utils.settings import Settings
from course_utils.text.data import load_sentiment
from course_utils.text.encoders import (
    encoder_from_scratch,
    fine_tuned_encoder,
    frozen_encoder,
    load_tokenizer,
)

INIT_STRATEGIES = (
    InitStrategy("from scratch", encoder_from_scratch, lr=1e-4, augmented=False),
    InitStrategy("frozen", frozen_encoder, lr=1e-2, augmented=False),
    InitStrategy("fine-tuned", fine_tuned_encoder, lr=3e-4, layer_lr_decay=0.3, augmented=False),
)


def train_text_from(
    strategy: InitStrategy, settings: Settings, steps: int, domain: str = "films"
) -> tuple[Run, Evaluation]:
    """Train a text network to predict the sentiment in one domain, as `train_from` does for images.

    Return the run, and the evaluation on the test texts, so that kinds of texts can be compared.
    """
    splits = load_sentiment(settings, load_tokenizer(settings), domain)
    return train_and_test(strategy, splits, settings, steps, domain)
