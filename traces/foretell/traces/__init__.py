"""Workloads: who asks what, when."""
