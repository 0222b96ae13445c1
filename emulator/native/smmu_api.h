/* The SMMU's native part as Python's device drives it. */
#ifndef SMMU_API_H
#define SMMU_API_H

/* By the architecture's register names (IHI 0070, chapter 6). */
struct smmu_registers {
	uint32_t cr0;
	uint32_t cr2;
	uint32_t gbpa;
	uint32_t gerror;
	uint32_t gerrorn;
	uint32_t strtab_base_cfg;
	uint32_t cmdq_prod;
	uint32_t cmdq_cons;
	uint32_t eventq_prod;
	uint32_t eventq_cons;
	uint64_t strtab_base;
	uint64_t cmdq_base;
	uint64_t eventq_base;
};

/* False: the host gives no memory for its TLB. Until then every translation is refused. */
bool smmu_attach(struct machine *machine);
struct smmu_registers *smmu_registers(struct machine *machine);
/* Executes the command queue up to its producer, or to a command that is in error. */
void smmu_consume(struct machine *machine);
/* For tests: translates as a DMA master's access would be, events included. */
bool smmu_translate(struct machine *machine, uint32_t stream, uint64_t address, bool write, uint64_t *physical);

#endif
