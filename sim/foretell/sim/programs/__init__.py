"""Strategies as programs: generators that call models, wait, and return an answer."""
