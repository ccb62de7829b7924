"""Classes by their names: vectors of texts, and what the old head's categories say about new classes."""

import pytest
import torch

from course_utils.settings import Settings
from course_utils.text.names import embed_texts, match_names

pytestmark = pytest.mark.usefixtures("no_network")


def test_texts_that_mean_similar_things_have_similar_vectors_whatever_stands_beside_them():
    texts = ["a cat", "a kitten that plays with a long piece of wool in the garden", "a tax form"]
    vectors = embed_texts(texts, Settings())
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    # The longer text beside it only adds padding.
    torch.testing.assert_close(embed_texts(texts[:1], Settings()), vectors[:1], rtol=0, atol=1e-5)


def test_match_is_the_weighted_mean_of_the_most_probable_categories():
    categories = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.0, 0.9]])
    matches = match_names(probabilities, categories, classes=torch.eye(2), top=2)
    # 0.6 and 0.3 become 2/3 and 1/3; 0.9 and 0.1 of opposite categories become -0.8.
    torch.testing.assert_close(matches, torch.tensor([[2 / 3, 1 / 3], [-0.8, 0.0]]))
