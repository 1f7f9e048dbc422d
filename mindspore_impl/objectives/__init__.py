"""Objectives and the parametric multi-loss (docs/method.md, "Objectives")."""

from mindspore_impl.objectives.adversarial import Perceptual, relativistic
from mindspore_impl.objectives.features import FeatureDistance
from mindspore_impl.objectives.multi import MultiLoss, make_loss
from mindspore_impl.objectives.restoration import (
    MeanTarget,
    NoisePreservation,
    Objective,
    Reconstruction,
    ResiduePreservation,
    Sharpening,
)
from mindspore_impl.objectives.style import Style, gram

__all__ = [
    "FeatureDistance",
    "MeanTarget",
    "MultiLoss",
    "NoisePreservation",
    "Objective",
    "Perceptual",
    "Reconstruction",
    "ResiduePreservation",
    "Sharpening",
    "Style",
    "gram",
    "make_loss",
    "relativistic",
]
