"""A base in memory with adapters: sampling and scoring."""

import torch

# On import, bitsandbytes prepares functions for torch's compiler that are not used here, for seconds. PEFT imports it
# where nobody did before.
_compile = torch.compile
torch.compile = lambda function=None, **options: function or (lambda given: given)  # type: ignore[assignment]
try:
    import bitsandbytes  # noqa: F401
finally:
    torch.compile = _compile
