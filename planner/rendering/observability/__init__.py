"""What watches a deployment: scrape jobs, alert rules with the plan's own numbers, a dashboard."""

from planner.rendering.observability.files import FOLDER, observability_files

__all__ = ["FOLDER", "observability_files"]
