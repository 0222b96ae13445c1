"""Apps of the normal world that run beside the secure world's service."""
