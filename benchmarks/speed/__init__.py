"""What `benchmarks/round.py` and `benchmarks/gpu.py` measure: shapes.py, work.py and ways.py."""
