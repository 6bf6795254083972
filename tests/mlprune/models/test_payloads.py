import pytest
import torch

from mlprune.errors import ShapeError
from mlprune.models.payloads import DecodeStep, ScoringBatch, TokenBatch

IDS = torch.ones(2, 3, dtype=torch.int64)
MASK = torch.ones(2, 3, dtype=torch.bool)


def test_a_token_batch_whose_parts_differ_in_shape_is_an_error():
    assert TokenBatch(IDS, MASK, MASK).token_ids is IDS
    with pytest.raises(ShapeError, match="part='attention_mask'"):
        TokenBatch(IDS, MASK[:, :2], MASK)
    with pytest.raises(ShapeError, match="part='counted'"):
        TokenBatch(IDS, MASK, MASK[:1])


def test_a_scoring_batch_that_is_empty_or_does_not_fit_is_an_error():
    parent = torch.zeros(2, dtype=torch.int64)
    assert ScoringBatch(IDS, IDS, MASK, parent).parent is parent
    with pytest.raises(ShapeError, match="part='prefix_ids'"):
        ScoringBatch(IDS[:, :0], IDS, MASK, parent)
    with pytest.raises(ShapeError, match="part='suffix_ids'"):
        ScoringBatch(IDS, IDS[:, :0], MASK[:, :0], parent)
    with pytest.raises(ShapeError, match="part='suffix_mask'"):
        ScoringBatch(IDS, IDS, MASK[:1], parent)
    with pytest.raises(ShapeError, match="part='parent'"):
        ScoringBatch(IDS, IDS, MASK, parent[:1])


def test_a_decoding_mask_shorter_than_the_tokens_is_an_error():
    assert DecodeStep("key", IDS[:, :1], MASK).key == "key"
    with pytest.raises(ShapeError, match="does not cover"):
        DecodeStep("key", IDS, MASK[:, :2])
