"""A base in memory with adapters: sampling and scoring."""

import torch

# PEFT imports bitsandbytes, which prepares functions for torch's compiler that are not used here, for seconds.
_compile = torch.compile
torch.compile = lambda function=None, **options: function or (lambda given: given)  # type: ignore[assignment]
try:
    import peft  # noqa: F401
finally:
    torch.compile = _compile
