"""The style panel: some texts of a person -> how much another text sounds like that person. Offline, no torch."""

from ditto_cli.evaluation.style.panel import PanelScore, StylePanel, TextEncoder, read_background

__all__ = ["PanelScore", "StylePanel", "TextEncoder", "read_background"]
