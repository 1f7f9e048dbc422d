"""Objectives and the parametric multi-loss (SPEC 3)."""

from mindspore_impl.objectives.multi import OBJECTIVES, MultiLoss, make_loss
from mindspore_impl.objectives.restoration import NoisePreservation, Objective, Reconstruction, Sharpening

__all__ = ["OBJECTIVES", "MultiLoss", "NoisePreservation", "Objective", "Reconstruction", "Sharpening", "make_loss"]
