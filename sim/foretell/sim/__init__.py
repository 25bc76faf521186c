"""The clock: engines that schedule as vLLM does, clusters of them, and forecasts."""
