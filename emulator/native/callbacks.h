/*
 * What the native machine calls in Python. cffi parses this file as it stands: plain declarations, no directives.
 */

/* One access to a device's registers; on a read *value is the result. False: bus error. */
bool device_access(struct machine *machine, int device, uint64_t offset, unsigned size, bool write, bool secure,
		   uint64_t *value);
