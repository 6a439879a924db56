from __future__ import annotations

import pytest
import torch

from museum_plugin.losses.feature_regularization import feature_change_loss


def features(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=rng) for shape in shapes]


SHAPES = ((3, 4, 2, 2), (3, 6, 5))  # a map of a convolution and a sequence of an attention block


def test_value_by_hand_is_relative_and_a_mean_over_blocks() -> None:
    before = [torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[[2.0]], [[10.0]]])]
    now = [torch.tensor([[3.0, 9.0], [1.0, 1.0]]), torch.tensor([[[4.0]], [[15.0]]])]
    # sample 0: 25 / 25 and 4 / 4; sample 1: 0 / 2 and 25 / 100
    torch.testing.assert_close(feature_change_loss(now, before), torch.tensor([1.0, 0.125]))


def test_agrees_with_float64_and_is_deterministic() -> None:
    now, before = features(*SHAPES), features(*SHAPES, seed=1)
    exact = torch.zeros(3, dtype=torch.float64)
    for a, b in zip(now, before, strict=True):
        for i in range(3):
            exact[i] += (a[i] - b[i]).double().pow(2).mean() / b[i].double().pow(2).mean() / 2
    in_float64 = feature_change_loss([x.double() for x in now], [x.double() for x in before])
    assert in_float64.dtype == torch.float64
    torch.testing.assert_close(in_float64, exact)
    torch.testing.assert_close(feature_change_loss(now, before), exact.float())
    assert torch.equal(feature_change_loss(now, before), feature_change_loss(now, before))


def test_is_zero_at_equality_and_one_when_features_vanish() -> None:
    before = features(*SHAPES)
    assert feature_change_loss(before, before).tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(feature_change_loss([0 * x for x in before], before), torch.ones(3))


def test_blocks_weigh_alike_whatever_their_scale() -> None:
    now, before = features(*SHAPES), features(*SHAPES, seed=1)
    scaled = feature_change_loss([now[0], 1000 * now[1]], [before[0], 1000 * before[1]])
    torch.testing.assert_close(scaled, feature_change_loss(now, before))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    now, before = features(*SHAPES), features(*SHAPES, seed=1)
    before[0][0] *= 100
    alone = feature_change_loss([x[1:2] for x in now], [x[1:2] for x in before])
    torch.testing.assert_close(feature_change_loss(now, before)[1:2], alone)


def test_gradient_reaches_the_student_and_never_the_teacher() -> None:
    now = [x.requires_grad_() for x in features(*SHAPES)]
    before = [x.requires_grad_() for x in features(*SHAPES, seed=1)]
    feature_change_loss(now, before).sum().backward()
    for student, teacher in zip(now, before, strict=True):
        scale = teacher.detach().square().flatten(1).mean(1) * teacher[0].numel() * len(before)
        expected = 2 * (student - teacher).detach() / scale.view(-1, *[1] * (student.ndim - 1))
        torch.testing.assert_close(student.grad, expected)
        assert teacher.grad is None


def test_learns_to_come_back() -> None:
    now = [x.requires_grad_() for x in features(*SHAPES)]
    before = features(*SHAPES, seed=1)
    optimizer = torch.optim.SGD(now, lr=2.0)
    first = feature_change_loss(now, before).detach()
    for _ in range(20):
        optimizer.zero_grad()
        feature_change_loss(now, before).sum().backward()
        optimizer.step()
    assert (feature_change_loss(now, before) < 0.5 * first).all()


def test_features_that_were_zero_count_absolutely_with_finite_gradients() -> None:
    now = torch.tensor([[3.0, 1.0]], requires_grad=True)
    loss = feature_change_loss([now], [torch.zeros(1, 2)])
    loss.sum().backward()
    assert loss.tolist() == [5.0]
    assert now.grad.tolist() == [[3.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype) -> None:
    now = [(300 * x).to(dtype) for x in features(*SHAPES)]
    before = [(300 * x).to(dtype) for x in features(*SHAPES, seed=1)]
    loss = feature_change_loss(now, before)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, feature_change_loss([x.float() for x in now], [x.float() for x in before]))


@pytest.mark.parametrize(
    ("now", "before", "names"),
    [
        ([], [], "each block"),
        ([(2, 3)], [(2, 3), (2, 3)], "each block"),
        ([(2, 3)], [(2, 4)], "one shape"),
        ([(2, 3), (4, 3)], [(2, 3), (4, 3)], "one batch size"),
    ],
)
def test_blocks_that_do_not_agree_are_refused(now, before, names) -> None:
    with pytest.raises(ValueError, match=names):
        feature_change_loss([torch.ones(shape) for shape in now], [torch.ones(shape) for shape in before])
