"""Does transfer pay for texts? The same comparison as that of lesson 07, with the same rules.

Same architecture, texts, steps and seeds; a learning rate that suits each start, chosen on validation texts
and with a seed that no reported run uses (`benchmarks/results/text_rates.csv`).
"""

import time

from course_utils.evaluation import Evaluation, InitStrategy, Run, evaluate, settings_for
from course_utils.settings import Settings, set_seed
from course_utils.text.data import load_reviews, load_topics
from course_utils.text.encoders import fine_tuned, from_scratch, frozen, load_tokenizer
from course_utils.training import fit

INIT_STRATEGIES = (
    InitStrategy("from scratch", from_scratch, lr=3e-4, augmented=False),
    InitStrategy("frozen", frozen, lr=1e-2, augmented=False),
    InitStrategy("fine-tuned", fine_tuned, lr=1e-3, layer_lr_decay=0.3, augmented=False),
)


TARGETS = {"sentiment": load_reviews, "topic": load_topics}
"""What is asked about a review: does it praise or blame (2 classes), and what is it about (16)?"""


def train_text_from(
    start: InitStrategy, settings: Settings, steps: int, target: str = "sentiment"
) -> tuple[Run, Evaluation]:
    """Train a text network for (at least) so many steps, and ask it about the test reviews once, at the end.

    Args:
        start: One of `INIT_STRATEGIES`.
        settings: `lr`, `layer_lr_decay` and `epochs` are replaced: by the start's, and by the steps.
        steps: Batches that the network learns from; a last epoch that has begun is finished.
        target: One of `TARGETS`.

    Returns:
        What lesson 07 keeps of a run, and the answers themselves, so that kinds of reviews can be told apart.
    """
    splits = TARGETS[target](settings, load_tokenizer(settings))
    settings = settings_for(start, settings, len(splits.train), steps)
    set_seed(settings.seed)
    model = start.prepare(settings, len(splits.classes))
    started = time.perf_counter()
    history = fit(model, splits.train, splits.val, settings)
    seconds = time.perf_counter() - started
    texts = (len(splits.train) + len(splits.val)) // len(splits.classes)
    result = evaluate(model, splits.test)
    return Run(start.name, target, texts, settings.seed, result.accuracy, seconds, history), result
