"""Pieces of a vocabulary, and the cap of its logits."""

import torch

from mlprune.numeric.inference.output_head import OutputHead


def test_the_pieces_contain_every_token_once_and_keep_the_bound() -> None:
    for max_logits, n_rows in ((1, 3), (12, 3), (7, 2), (100, 5)):
        head = OutputHead(torch.arange(20).reshape(10, 2), torch.arange(10), None, max_logits)
        n_columns = head.n_columns(n_rows)
        firsts, weights, biases = zip(*head.pieces(n_columns), strict=True)
        assert firsts == tuple(range(0, 10, n_columns))
        assert torch.equal(torch.cat(weights), head.weight)
        assert torch.equal(torch.cat(biases), head.bias)
        assert n_columns == 1 or n_columns * n_rows <= max_logits


def test_the_cap_bounds_logits_and_keeps_their_order() -> None:
    logits = torch.tensor([[-50.0, -1.0, 0.0, 1.0, 50.0]])
    expected = 2.0 * torch.tanh(logits / 2.0)
    head = OutputHead(torch.ones(5, 1), None, 2.0, 100)
    assert torch.allclose(head.cap_in_place(logits.clone()), expected)
    assert torch.equal(OutputHead(torch.ones(5, 1), None, None, 100).cap_in_place(logits.clone()), logits)
