"""The evidence: foretell against real servers, queueing theory and published tables."""
