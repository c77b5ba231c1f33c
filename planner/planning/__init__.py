"""Workload x machine -> plan: candidates, matrix, ranking, reasons."""
