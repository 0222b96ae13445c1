/* The GIC as Python's devices and debuggers see it. */
#ifndef GIC_API_H
#define GIC_API_H

/* Its register frames. */
enum gic_frame { GIC_NO_FRAME, GIC_DISTRIBUTOR, GIC_INTERFACE, GIC_HYPERVISOR, GIC_GUEST };

/* The machine has a GIC from now on; a device that is one of its frames needs no Python. */
void gic_attach(struct machine *machine);
void gic_add_frame(struct machine *machine, int device, enum gic_frame frame);
/* The input of a shared (32 and above) or private (16 to 31) peripheral interrupt. */
void gic_set_level(struct machine *machine, unsigned interrupt, bool level);
/* One register access, at most 32 bits. False: nothing is declared there. */
bool gic_read(struct machine *machine, enum gic_frame frame, uint64_t offset, unsigned size, bool secure, uint32_t *value);
bool gic_write(struct machine *machine, enum gic_frame frame, uint64_t offset, unsigned size, bool secure, uint32_t value);
/* What a 32-bit register holds, in the secure view unless that shows less; no interrupt is acknowledged by it. */
uint32_t gic_peek(struct machine *machine, enum gic_frame frame, uint64_t offset);

#endif
