"""Runs side by side in one HTML file."""

from genmodels.report.write import write_report

__all__ = ["write_report"]
