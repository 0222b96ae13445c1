"""The hardware: core, translation, bus, devices, run control, events."""
