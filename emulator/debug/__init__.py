"""What a debugger shows of the machine."""
