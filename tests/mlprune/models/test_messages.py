import pytest
import torch

from mlprune.errors import ShapeError
from mlprune.models.messages import DecodeStep, TokenBatch

IDS = torch.ones(2, 3, dtype=torch.int64)
MASK = torch.ones(2, 3, dtype=torch.bool)


def test_a_token_batch_with_tensors_of_different_shapes_is_an_error():
    assert TokenBatch(IDS, MASK, MASK).token_ids is IDS
    with pytest.raises(ShapeError, match="part='attention_mask'"):
        TokenBatch(IDS, MASK[:, :2], MASK)
    with pytest.raises(ShapeError, match="part='counted'"):
        TokenBatch(IDS, MASK, MASK[:1])


def test_a_decoding_mask_shorter_than_the_tokens_is_an_error():
    assert DecodeStep("key", IDS[:, :1], MASK).key == "key"
    with pytest.raises(ShapeError, match="does not cover"):
        DecodeStep("key", IDS, MASK[:, :2])
