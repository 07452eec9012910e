"""ditto: make a language model write like one person, from fewer than ten of that person's own texts.

Importing it sets what torch and the model libraries read from the environment when they are imported themselves.
"""

import os

__version__ = "0.1.0"

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Batches of many sizes leave holes in a GPU's memory that only segments which can grow fill again.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
