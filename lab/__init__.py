"""Everything that measures, and nothing that ships: the study, the synthetic world's networks, benchmarks."""
