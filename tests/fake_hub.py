"""A model hub that has one base's small files and would have to send the weights. A pytest plugin."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

COMMIT = "7" * 40


@dataclass
class FakeHub:
    """Stands for the hub's library; nothing of the base is cached. `asked` are the patterns of each download."""

    folder: Path
    asked: list = field(default_factory=list)

    def set_config(self, config):
        """Another configuration for the base, as a dictionary or as transformers' own."""
        content = config if isinstance(config, dict) else config.to_dict()
        (self.folder / "config.json").write_text(json.dumps(content), encoding="utf-8")

    def change_config(self, **changes):
        self.set_config(json.loads((self.folder / "config.json").read_text(encoding="utf-8")) | changes)

    def snapshot_download(self, base_id, *, allow_patterns, revision=None, local_files_only=False):
        if local_files_only:
            raise FileNotFoundError
        self.asked.append(allow_patterns)
        if "*.safetensors" in allow_patterns:
            pytest.fail("the weights were asked for")
        return self.folder


@pytest.fixture
def hub(tiny_folder, tmp_path, monkeypatch):
    """The hub has the tiny base under every name, and may be asked."""
    from huggingface_hub import constants

    from ditto_cli.model.base import source

    folder = shutil.copytree(tiny_folder, tmp_path / "hub" / COMMIT, ignore=shutil.ignore_patterns("*.safetensors"))
    hub = FakeHub(folder)
    monkeypatch.setattr(source, "snapshot_download", hub.snapshot_download)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return hub
