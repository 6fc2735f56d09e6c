"""One self-contained HTML page about a model: its pictures, what its memory read, its curves, its scores."""
