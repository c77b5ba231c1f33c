"""Options to calls to exit codes; the only floor that prints or exits."""
