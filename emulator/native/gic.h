/* The interrupt controller: GICv2 with the Security and Virtualization Extensions, for one core (IHI 0048B). */
#ifndef GIC_H
#define GIC_H

#include "gic_api.h"

#define GIC_INTERRUPTS 288 /* as on QEMU's virt */
#define GIC_PRIVATE 32
#define GIC_SGIS 16
#define GIC_RESERVED 1020 /* identifiers from here on are no interrupts */
#define GIC_SPURIOUS 1023
#define GIC_HIDDEN 1022 /* a Group 1 interrupt is pending where Group 0 is asked for */
#define GIC_IDLE 0x100  /* running priority: lower than any */
#define GIC_ACTIVE_WORDS 4 /* a bit for each group priority: 128 */

/* GICD_CTLR and GICC_CTLR, secure view. */
#define GIC_ENABLE_GROUP0 (1 << 0)
#define GIC_ENABLE_GROUP1 (1 << 1)
#define GICC_ACK_CTL (1 << 2)
#define GICC_FIQ_ENABLE (1 << 3)
#define GICC_CBPR (1 << 4)
#define GICC_EOI_MODE (1 << 9)
#define GICC_EOI_MODE_NS (1 << 10)
#define GICC_CTLR_MASK 0x61f /* no bypass of the GIC */

/* Offsets of the CPU interface. */
enum {
	GICC_CTLR = 0x0000, GICC_PMR = 0x0004, GICC_BPR = 0x0008, GICC_IAR = 0x000c, GICC_EOIR = 0x0010, GICC_RPR = 0x0014,
	GICC_HPPIR = 0x0018, GICC_ABPR = 0x001c, GICC_AIAR = 0x0020, GICC_AEOIR = 0x0024, GICC_AHPPIR = 0x0028,
	GICC_APR = 0x00d0, GICC_NSAPR = 0x00e0, GICC_APRS_END = 0x00f0, GICC_IIDR = 0x00fc, GICC_DIR = 0x1000,
};

#define GICC_IIDR_VALUE 0x0002043b /* Arm, GICv2, product 0 */

struct gic_interrupt {
	bool group1;
	bool enabled;
	bool latched; /* pending without its input: edges, software */
	bool level;   /* of its input */
	bool edge;    /* ICFGR */
	bool active;
	uint8_t priority;
};

#define GIC_LIST_REGISTERS 4

/* The virtual CPU interface. */
struct gic_virtual {
	uint32_t hcr;
	uint32_t list[GIC_LIST_REGISTERS + 1]; /* GICH_LRn; the last is none */
	uint32_t active;          /* GICH_APR: a bit for each group priority */
	uint32_t control;         /* GICV_CTLR, and so on: what GICH_VMCR shows in one */
	uint32_t priority_mask;
	uint32_t binary_point[2]; /* by group */
	unsigned candidate;       /* the list register that would be acknowledged, or GIC_LIST_REGISTERS */
};

struct gic {
	bool present;
	struct gic_interrupt interrupt[GIC_INTERRUPTS];
	uint32_t distributor_control;
	uint32_t control;           /* GICC_CTLR */
	uint32_t priority_mask;     /* GICC_PMR */
	uint32_t binary_point[2];   /* GICC_BPR, GICC_ABPR: by group */
	uint32_t active[2][GIC_ACTIVE_WORDS]; /* GICC_APRn, GICC_NSAPRn: by group */
	struct gic_virtual virtual;
	unsigned candidate;         /* what would be acknowledged; GIC_SPURIOUS: nothing */
};

/* --- its parts among themselves --- */

bool gic_is_pending(const struct gic_interrupt *interrupt);
/* Where a Non-secure access sees and changes nothing. */
bool gic_is_hidden(const struct gic_interrupt *interrupt, bool secure);
/* A priority as Non-secure software sees it: the upper half belongs to the Secure side (IHI 0048B, 3.8.2). */
uint32_t gic_normal_priority(uint32_t priority);
/* Something changed: looks for the interrupt of the highest priority and signals it. */
void gic_update(struct machine *machine);
unsigned gic_running_priority(const struct gic *gic);
unsigned gic_highest_pending(const struct gic *gic, bool secure);
unsigned gic_acknowledge(struct machine *machine, bool secure);
void gic_end(struct machine *machine, unsigned id, bool secure);
void gic_deactivate(struct machine *machine, unsigned id, bool secure);

bool gic_distributor_read(const struct gic *gic, uint64_t offset, unsigned size, bool secure, uint32_t *value);
bool gic_distributor_write(struct gic *gic, uint64_t offset, unsigned size, bool secure, uint32_t value);
bool gic_interface_read(struct machine *machine, uint64_t offset, bool secure, uint32_t *value);
bool gic_interface_write(struct machine *machine, uint64_t offset, bool secure, uint32_t value);

#define GIC_VIRTUAL_LEAST_POINT 2 /* of GICV_BPR; GICV_ABPR is one more */

void gic_virtual_reset(struct gic_virtual *virtual);
uint32_t gic_virtual_ended(const struct gic_virtual *virtual);       /* GICH_EISR */
uint32_t gic_virtual_empty(const struct gic_virtual *virtual);       /* GICH_ELRSR */
uint32_t gic_virtual_maintenance(const struct gic_virtual *virtual); /* GICH_MISR */
unsigned gic_virtual_running_priority(const struct gic_virtual *virtual);
/* `alias`: by the registers for group 1, AHPPIR, AIAR. */
unsigned gic_virtual_highest_pending(const struct gic_virtual *virtual, bool alias);
unsigned gic_virtual_acknowledge(struct machine *machine, bool alias);
void gic_virtual_end(struct gic *gic, unsigned id);
void gic_virtual_deactivate(struct gic *gic, unsigned id);
void gic_virtual_update(struct machine *machine);
bool gic_virtual_read(struct machine *machine, enum gic_frame frame, uint64_t offset, uint32_t *value);
bool gic_virtual_write(struct machine *machine, enum gic_frame frame, uint64_t offset, uint32_t value);

#endif
