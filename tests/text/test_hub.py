"""The texts of the `full` profile, as far as it can be proved without the hub: stand-ins for its files."""

import pandas as pd
import pytest

from course_utils.errors import DataError
from course_utils.settings import Settings
from course_utils.text import hub as text_hub
from course_utils.text.data import SENTIMENTS, WORD_LABELS, read_entities, read_reviews

FULL = Settings(profile="full")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve small tables in the form of SST-2's and CoNLL-2003's from a folder; list the requests."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[text]'")
    requested = []

    def download(repo_id, filename, repo_type, revision):
        requested.append(filename)
        path = tmp_path / filename.replace("/", "-")
        if "sst2" in repo_id:
            pd.DataFrame(
                {"idx": [0, 1], "sentence": ["a dull film ", "great fun "], "label": [0, 1]}
            ).to_parquet(path)
        else:
            words, tags = [["EU", "rejects", "German", "call"], []], [[3, 0, 7, 0], []]
            pd.DataFrame({"id": ["0", "1"], "tokens": words, "ner_tags": tags}).to_parquet(path)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return requested


def test_sst2_has_the_columns_of_the_reviews_that_ship(hub):
    table = read_reviews(FULL)
    assert set(read_reviews().columns) - {"id"} == set(table.columns)
    assert table.text.tolist() == ["a dull film", "great fun"] * 2
    assert set(table.label) == set(SENTIMENTS) and list(table.split) == ["train"] * 2 + ["test"] * 2
    assert hub == [f"data/{name}-00000-of-00001.parquet" for name in ("train", "validation")]


def test_conll_s_misc_is_called_other_and_empty_sentences_are_left_out(hub):
    parts = read_entities(FULL)
    assert list(parts) == ["train", "test"]
    (sentence,) = parts["test"]
    assert sentence.words == ["EU", "rejects", "German", "call"]
    assert sentence.labels == ["B-ORG", "O", "B-OTHER", "O"]
    assert set(text_hub.CONLL_LABELS) == set(WORD_LABELS)


@pytest.mark.parametrize("read", [read_reviews, read_entities])
def test_without_a_network_and_a_cache_it_says_what_to_do(
    read, no_network, no_waiting, tmp_path, monkeypatch, assert_says_four_things
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="could not be had") as error:
        read(FULL)
    assert_says_four_things(error.value)
    assert 'profile="quick"' in str(error.value)
