"""What `benchmarks/round.py` is made of: shapes, one workload for all ways, the ways, floors, checks and tables."""
