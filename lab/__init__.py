"""Research code that does not ship: the study, training of the synthetic world's networks, and benchmarks."""
