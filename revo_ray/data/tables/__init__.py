"""How a table is written: its name, its rows, and one process at a time."""
