from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from asdbench.blocks import ArcFace
from asdbench.errors import ConfigError

# All values are those of the specification, section 9: scale 30.


def logit_at(cosine: float, *, margin: float, easy_margin: bool = False) -> float:
    head = ArcFace(8, 2, margin=margin, easy_margin=easy_margin)
    return float(head.logits(torch.tensor([[cosine, 0.0]]), torch.tensor([0]))[0, 0].detach())


def test_without_margin_the_logits_are_a_scaled_cosine_softmax() -> None:
    head, embedding = ArcFace(8, 5, margin=0.0), torch.randn(4, 8)
    cosines = F.cosine_similarity(embedding.unsqueeze(1), head.weight.unsqueeze(0), dim=2)
    torch.testing.assert_close(head(embedding, torch.arange(4)), 30 * cosines)
    torch.testing.assert_close(head(embedding), 30 * cosines)


@pytest.mark.parametrize(("cosine", "logit"), [(1.0, 16.20907), (0.0, -25.24413)])
def test_a_margin_of_one_radian_lowers_the_logit_of_the_true_class(cosine: float, logit: float) -> None:
    assert logit_at(cosine, margin=1.0) == pytest.approx(logit, abs=1e-5)


def test_past_the_switch_point_the_logit_is_the_cosine_less_an_offset() -> None:
    switch, offset = math.cos(math.pi - 1), math.sin(math.pi - 1)
    assert (switch, offset) == pytest.approx((-0.540302, 0.841471), abs=1e-6)
    below, above = switch - 1e-3, switch + 1e-3
    assert logit_at(below, margin=1.0) == pytest.approx(30 * (below - offset), abs=1e-5)
    assert logit_at(above, margin=1.0) == pytest.approx(30 * math.cos(math.acos(above) + 1), abs=1e-4)


def test_an_easy_margin_leaves_angles_past_a_right_angle_alone() -> None:
    assert logit_at(-0.2, margin=1.0, easy_margin=True) == pytest.approx(-6.0, abs=1e-5)
    assert logit_at(1.0, margin=1.0, easy_margin=True) == pytest.approx(16.20907, abs=1e-5)


def test_all_zero_cosines_of_41_classes_score_as_specified_with_and_without_margin() -> None:
    head, cosines = ArcFace(8, 41, margin=1.0), torch.zeros(1, 41)
    claim = torch.tensor([7])
    assert float(F.cross_entropy(head.logits(cosines, claim), claim)) == pytest.approx(28.93301, abs=1e-5)
    assert float(F.cross_entropy(head.logits(cosines), claim)) == pytest.approx(math.log(41), abs=1e-5)


def test_the_gradient_is_finite_where_embedding_and_weight_coincide() -> None:
    head = ArcFace(8, 3)
    embedding = head.weight.detach()[1:2].clone().requires_grad_()
    F.cross_entropy(head(embedding, torch.tensor([1])), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    for tensor in (embedding, head.weight):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_only_the_true_class_bears_the_margin() -> None:
    head, embedding, target = ArcFace(8, 5), torch.randn(4, 8), torch.tensor([0, 1, 2, 3])
    moved = head(embedding, target) != head(embedding)
    assert torch.equal(moved, F.one_hot(target, 5).bool())


def test_the_nearest_of_several_sub_centres_counts() -> None:
    head = ArcFace(8, 3, sub_centers=4)
    cosines = head.cosines(head.weight.detach()[4:8])
    assert head.weight.shape == (12, 8)
    torch.testing.assert_close(cosines[:, 1], torch.ones(4))


def test_autocast_leaves_the_cosines_in_full_precision() -> None:
    head, embedding = ArcFace(8, 5), torch.randn(4, 8)
    expected = head(embedding)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(embedding), expected)


def test_the_head_of_41_classes_has_5248_parameters() -> None:
    assert sum(parameter.numel() for parameter in ArcFace(128, 41).parameters()) == 5248


def test_a_margin_past_half_a_turn_and_a_head_without_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"margin=3\.5 is not an angle within 0\.\.pi"):
        ArcFace(8, 2, margin=3.5)
    with pytest.raises(ConfigError, match="classes=0 and sub_centers=1 must be at least 1"):
        ArcFace(8, 0)
