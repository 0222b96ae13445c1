"""The monitor seen from outside: its SMC table, its images, its state read out of guest memory."""
