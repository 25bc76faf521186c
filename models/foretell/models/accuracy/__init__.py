"""Closed forms of accuracy: what an inference strategy answers right, without simulating it."""
