class BusError(Exception):
    pass
