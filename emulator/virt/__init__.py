"""The board of `flexserve exec`: what QEMU's ``virt,secure=on`` has, where it has it, for images built for that."""
