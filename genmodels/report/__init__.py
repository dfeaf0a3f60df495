"""Runs side by side in one HTML file."""

from genmodels.report.runs import check_finished
from genmodels.report.write import write_report

__all__ = ["check_finished", "write_report"]
