"""Devices, one file each: a declared register map and the few registers that act."""
