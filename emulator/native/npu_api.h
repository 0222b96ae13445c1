/* The NPU as Python's devices and debuggers see it. */
#ifndef NPU_API_H
#define NPU_API_H

/* What an EVENT_NPU tells of; its further arguments. */
enum npu_what {
	NPU_STARTED,   /* address of the program, tasks */
	NPU_TASK_DONE, /* number of the task, multiply-accumulates */
	NPU_JOB_DONE,  /* tasks */
	NPU_FAULT,     /* enum npu_problem, offset of the register, its value; DMA: 0, address */
	NPU_ABORTED,   /* offset of the register that did it, tasks done */
	NPU_IGNORED,   /* offset, value: a register was written that must not be while a job runs */
};

/* Why a core gave up a program: NPU_CONTROL.FAULT. */
enum npu_problem {
	NPU_NO_PROBLEM,
	NPU_UNKNOWN_TARGET,
	NPU_UNKNOWN_REGISTER,
	NPU_NOT_IMPLEMENTED,
	NPU_BAD_VALUE,
	NPU_UNALIGNED,
	NPU_TOO_LARGE,
	NPU_NO_END,
	NPU_DMA_READ,
	NPU_DMA_WRITE,
};

enum npu_access { NPU_ACCESSED, NPU_UNDECLARED, NPU_NO_ANSWER };

/* What a core has done since it was made; resets do not change it. */
struct npu_counters {
	uint64_t jobs;
	uint64_t tasks;
	uint64_t macs;
};

/* The machine has an NPU from now on, without power. False: the host has no memory for its buffers. */
bool npu_attach(struct machine *machine);
/* A core is a bus master of its own: its stream at the SMMU, its NSAID at the TZASC; and its input of the GIC. */
void npu_wire(struct machine *machine, unsigned core, uint32_t stream, uint8_t nsaid, unsigned interrupt);
/* A device is one of the NPU's windows: 0 NPU_CONTROL, then the cores. */
void npu_add_window(struct machine *machine, int device, unsigned window);
/* One register access of 32 bits. */
enum npu_access npu_read(struct machine *machine, unsigned window, uint64_t offset, unsigned size, uint32_t *value);
enum npu_access npu_write(struct machine *machine, unsigned window, uint64_t offset, unsigned size, uint32_t value);
/* What a register holds, power or not. */
uint32_t npu_peek(struct machine *machine, unsigned window, uint64_t offset);
void npu_counters(struct machine *machine, unsigned core, struct npu_counters *counters);

#endif
