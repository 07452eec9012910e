"""The style panel: some texts of a person -> how much another text sounds like that person. Offline, no torch."""

from ditto_cli.evaluation.style.background import BackgroundText, read_background
from ditto_cli.evaluation.style.panel import PanelScore, StylePanel
from ditto_cli.evaluation.style.profiles import TextEncoder

__all__ = ["BackgroundText", "PanelScore", "StylePanel", "TextEncoder", "read_background"]
