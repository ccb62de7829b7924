"""The history of a training run."""

from dataclasses import dataclass, field, fields

import pandas as pd

from course_utils.errors import TrainingError


@dataclass
class EpochMetrics:
    """Losses and accuracies of one pass over the training images.

    Losses are means over images of the cross-entropy, in nats; accuracies are shares from 0 to 1.
    Training figures are taken while the network changes, validation figures at the end of the epoch.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass
class History:
    """Every epoch of one training run, and which of them was best."""

    epochs: list[EpochMetrics] = field(default_factory=list)
    interrupted: bool = False
    """True if the run was stopped by hand (Ctrl-C) before its last epoch."""

    @property
    def best(self) -> EpochMetrics:
        """The epoch with the lowest validation loss; the first, if several are equal.

        The loss is a steadier guide than the accuracy: with a few hundred validation images the accuracy
        jumps by a point from epoch to epoch by chance.

        Raises:
            TrainingError: If there is no epoch.
        """
        if not self.epochs:
            raise TrainingError(
                "There is no best epoch.",
                where="History",
                expected="at least one finished epoch",
                found="none: training was stopped in its first epoch",
                do="Train for at least one full epoch.",
            )
        return min(self.epochs, key=lambda epoch: epoch.val_loss)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each epoch."""
        columns = [column.name for column in fields(EpochMetrics)]
        return pd.DataFrame(self.epochs, columns=columns).set_index("epoch")
