"""Analytical models: pure functions of SI floats and arrays over frozen specs."""

from foretell.models.stepcost import AffineCost, StepCost, StepLoad, constant_cost

__all__ = ["AffineCost", "StepCost", "StepLoad", "constant_cost"]
