"""Texts -> vectors of a neural encoder, for a style encoder as one more measure of the style panel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ditto_cli.errors import InputError
from ditto_cli.model.base.source import cached_snapshot
from ditto_cli.model.hardware import Hardware

_BATCH = 8
_MAX_TOKENS = 512


class StyleEncoder:
    """An encoder model with mean pooling, as sentence-transformers models have it (for example Style-Embedding)."""

    def __init__(self, model: Any, tokenizer: Any, hardware: Hardware) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._hardware = hardware

    def encode(self, texts: Sequence[str]) -> NDArray[numpy.float64]:
        """Unit vectors [N, D]; of a long text the first 512 tokens count."""
        pieces = []
        for start in range(0, len(texts), _BATCH):
            batch = self._tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=_MAX_TOKENS,
                return_tensors="pt",
            ).to(self._hardware.device)
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            pieces.append(torch.nn.functional.normalize(mean, dim=1).cpu().double().numpy())
        return numpy.concatenate(pieces)


def load_style_encoder(name: str, hardware: Hardware) -> StyleEncoder:
    """An encoder by its hub id or local folder; code that comes with a model is never run."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        place = name if Path(name).is_dir() else cached_snapshot(name, None) or name  # the hub only for what is missing
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModel.from_pretrained(place).to(hardware.device).eval()
    except (ValueError, KeyError, OSError, InputError) as error:
        raise InputError(
            f"--style-encoder {name}: it cannot be loaded ({type(error).__name__}); give a folder, or the hub id of an "
            "encoder without code of its own, such as AnnaWegmann/Style-Embedding."
        ) from None
    return StyleEncoder(model, tokenizer, hardware)
