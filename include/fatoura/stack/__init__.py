"""The local stack of make up and make demo: its processes, from start to end."""
