"""The losses that training reports, for those who may not import what computes them."""

LOSS_NAMES = ("backbone_labels", "classifier_labels", "mil", "ref", "adv", "cls", "seg", "classifier")
"""Logged as loss/<name>. Those of the label stages first; then the terms of the objective, also logged weighted."""
