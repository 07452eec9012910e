"""ditto: make a language model write like one person, from fewer than ten of that person's own texts.

Importing it sets what torch and the model libraries read from the environment when they are imported themselves.
"""

import os

__version__ = "0.1.0"

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads that wait spinning keep their core from whatever else wants it, and a busy machine then takes many times as
# long (docs/performance.md). OpenMP reads it as torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Batches of many sizes leave holes in a GPU's memory that only segments which can grow fill again.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
