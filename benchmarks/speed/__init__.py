"""What `benchmarks/round.py` and `benchmarks/gpu.py` measure: shapes.py, work.py, ways.py and messages.py."""
