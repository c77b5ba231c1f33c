"""One room per server: what it reads, its memory and speed rules, how it starts."""
