"""The model room: the only place that knows transformers, peft and bitsandbytes.

Importing it switches the libraries' telemetry off, which they read from the environment when they are imported.
"""

import os

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
