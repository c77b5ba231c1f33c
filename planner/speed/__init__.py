"""Seconds: decode, prefill, batching, each as a range."""
