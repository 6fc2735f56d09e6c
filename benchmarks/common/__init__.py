"""What every benchmark shares: the facts of a measurement, and times taken in turns."""
