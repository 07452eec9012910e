"""The model room: the only place that knows transformers, peft and bitsandbytes."""
