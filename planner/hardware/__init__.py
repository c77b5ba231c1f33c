"""What a machine is (`facts`) and how it is read."""
