from __future__ import annotations

import math

import torch
from musicfw_torch.losses import neighbour_loss, reconstruction_loss


def test_the_neighbour_term_is_the_cross_entropy_pair_by_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    heads = torch.rand((5, 3), generator=generator, dtype=torch.float64) * 3
    tails = torch.rand((5, 3), generator=generator, dtype=torch.float64) * 3

    def phi(a: torch.Tensor, b: torch.Tensor) -> float:
        return 1.0 / (1.0 + float((a - b).square().sum()))

    together = sum(-math.log(phi(heads[i], tails[i])) for i in range(5)) / 5
    apart = sum(
        -math.log(1.0 - phi(heads[i], tails[j])) for i in range(5) for j in range(5) if i != j
    )

    found = neighbour_loss(heads, tails, repulsion=0.7)

    # A thousandth is added to squared distances before their logarithm.
    assert math.isclose(together + 0.7 * apart / 20, float(found), rel_tol=1e-2)


def test_equal_codes_have_a_finite_loss_and_gradient() -> None:
    codes = torch.zeros((4, 2)).requires_grad_()
    loss = neighbour_loss(codes, codes, repulsion=1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert codes.grad is not None
    assert torch.isfinite(codes.grad).all()


def test_one_pair_only_attracts() -> None:
    head, tail = torch.zeros((1, 2)), torch.ones((1, 2))
    assert math.isclose(
        math.log(3.0), float(neighbour_loss(head, tail, repulsion=1.0)), rel_tol=1e-6
    )


def test_decoding_the_mean_costs_one() -> None:
    rows = torch.tensor([[1.0, 4.0], [3.0, 8.0]])
    mean = rows.mean(dim=0)
    scale = (rows - mean).square().mean().sqrt()
    found = reconstruction_loss(rows, mean.expand_as(rows), scale)
    assert math.isclose(1.0, float(found), rel_tol=1e-6)
