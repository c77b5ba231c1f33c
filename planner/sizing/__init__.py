"""Bytes: tensor groups, quantization, KV cache, buffers, pools."""
