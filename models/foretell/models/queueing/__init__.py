"""Queueing models: closed forms and small Markov chains, without a clock and without randomness."""
