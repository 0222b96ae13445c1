"""The images that run on the machine, and where they are built from."""
