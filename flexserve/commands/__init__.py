"""The sub-commands of `flexserve`, one file each."""
