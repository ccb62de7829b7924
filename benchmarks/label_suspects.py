"""How well wrong labels are found, for lesson 09.

    pip install cleanlab
    python benchmarks/label_suspects.py [--draws 10]

Each draw gives one training drawing in twenty a wrong label, at random. Logistic regression learns from
cached features of the shipped ResNet-18, with scikit-learn's default penalty (C = 1) or a hundred times as
much (C = 0.01). It predicts the same drawings after learning from all of them (`in sample`), or each drawing
after learning from the four folds that do not contain it (`held out`).

- `wrong_labels`: the number of wrong labels;
- `contradicted`: how many drawings are predicted to be of another class than their label says, and
  `contradicted_wrong`: how many of those have a wrong label;
- `caught`: of as many suspects as there are wrong labels, those with the lowest probability of their own
  label, how many have a wrong label; `caught_by_cleanlab`: the same for cleanlab's order;
- `flagged`, `flagged_wrong`: how many labels `cleanlab.filter.find_label_issues` reports, and how many of
  those are wrong.

The table is `results/label_suspects.csv`.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from storing import add_rows

from course_utils.data.splits import load_splits
from course_utils.models.backbones import load_backbone
from course_utils.models.weights import backbone_weights
from course_utils.settings import Settings, set_seed
from course_utils.training.features import extract_features

PENALTIES = (1, 0.01)


def mislabelled(truth: np.ndarray, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which one in twenty is wrong, and the indices of those."""
    random = np.random.default_rng(seed)
    wrong = random.choice(len(truth), size=max(1, len(truth) // 20), replace=False)
    given = truth.copy()
    given[wrong] = (given[wrong] + random.integers(1, classes, size=len(wrong))) % classes
    return given, wrong


def rows_of(features: np.ndarray, truth: np.ndarray, classes: int, seed: int) -> Iterator[dict]:
    given, wrong = mislabelled(truth, classes, seed)
    for penalty in PENALTIES:
        classifier = LogisticRegression(C=penalty, max_iter=2000)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        tables = {
            "in sample": classifier.fit(features, given).predict_proba(features),
            "held out": cross_val_predict(classifier, features, given, cv=folds, method="predict_proba"),
        }
        for asked, table in tables.items():
            contradicted = set(np.flatnonzero(table.argmax(axis=1) != given))
            suspects = table[np.arange(len(given)), given].argsort()[: len(wrong)]
            by_cleanlab = get_label_quality_scores(given, table).argsort()[: len(wrong)]
            flagged = find_label_issues(given, table, return_indices_ranked_by="self_confidence", n_jobs=1)
            yield {
                "draw": seed,
                "C": penalty,
                "asked": asked,
                "wrong_labels": len(wrong),
                "contradicted": len(contradicted),
                "contradicted_wrong": len(contradicted & set(wrong)),
                "caught": len(set(suspects) & set(wrong)),
                "caught_by_cleanlab": len(set(by_cleanlab) & set(wrong)),
                "flagged": len(flagged),
                "flagged_wrong": len(set(flagged) & set(wrong)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    draws = parser.parse_args().draws
    settings = Settings(dataset="clipart")
    set_seed(settings.seed)
    splits, model = load_splits(settings), load_backbone(backbone_weights(settings))
    features, truth = (tensor.numpy() for tensor in extract_features(model, splits.train).tensors)
    rows = [row for seed in range(draws) for row in rows_of(features, truth, len(splits.classes), seed)]
    add_rows("label_suspects.csv", rows, f"python benchmarks/label_suspects.py --draws {draws}")


if __name__ == "__main__":
    main()
