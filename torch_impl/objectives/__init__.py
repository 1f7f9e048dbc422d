"""Objectives and the parametric multi-loss (docs/method.md, "Objectives")."""

from torch_impl.objectives.adversarial import Perceptual, relativistic
from torch_impl.objectives.features import FeatureDistance
from torch_impl.objectives.multi import MultiLoss, make_loss
from torch_impl.objectives.restoration import (
    MeanTarget,
    NoisePreservation,
    Objective,
    Reconstruction,
    ResiduePreservation,
    Sharpening,
)
from torch_impl.objectives.style import Style, gram

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
