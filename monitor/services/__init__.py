"""What the two kernels say: to each other (messages) and, both alike, to the monitor (calls)."""
