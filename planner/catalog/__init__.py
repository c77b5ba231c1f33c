"""What models, quants, servers and devices are (`records`) and how their files are read."""
