"""Measuring a running server: controlled requests, what it answers with, and how that compares with the prediction."""
