/*
 * The NPU (docs/npu.md): three cores that fetch programs of register commands and multiply matrices, all through the SMMU
 * and the bus filters. npu.c has the registers, npu_program.c takes programs apart, npu_task.c makes a task of registers,
 * npu_job.c steps through it in guest time, npu_dma.c moves its bytes, npu_output.c makes
 * them of sums.
 */
#ifndef NPU_H
#define NPU_H

#include <stdbool.h>
#include <stdint.h>

#include "npu_api.h"
#include "npu_registers.h"

#define NPU_CORES 3
#define NPU_GROUPS 2 /* of registers, that take turns */
#define NPU_ALL_CORES ((1u << NPU_CORES) - 1)

#define NPU_BANKS 12
#define NPU_BANK_BYTES (32 * 1024)
#define NPU_BUFFER_BYTES (NPU_BANKS * NPU_BANK_BYTES)
#define NPU_ATOM 16           /* bytes of a feature or a result that lie together */
#define NPU_BLOCK_BYTES 1024  /* of weights: 32 channels of a kernel group */
#define NPU_BLOCK_CHANNELS 32
#define NPU_MOST_ROWS (NPU_BUFFER_BYTES / NPU_ATOM)
/* The features are kept with their channels filled up to whole blocks: at most four atoms for one. */
#define NPU_FEATURE_BYTES (4 * NPU_BUFFER_BYTES)
#define NPU_POST_BYTES (NPU_MOST_ROWS * 32 * 4)

#define NPU_STEP_BYTES (1024 * 1024) /* what a step moves, if one kernel group's part is not more */
#define NPU_STEP_GROUPS 64
#define NPU_POST_RUNS 4096
#define NPU_STEP_PAGES (2 * 1024 * 1024 / 4096 + 2) /* a group of kernels of 64 KiB channels */

/* Guest time, in instructions: a core at 1 GHz with 1,024 int8 or 512 fp16 multipliers, and its share of the memory. */
#define NPU_START 1000 /* from the start of a job to its first step */
#define NPU_LATENCY 64
#define NPU_BYTES_A_TICK 16
#define NPU_INT8_A_TICK 1024
#define NPU_FP16_A_TICK 512

enum npu_phase { NPU_IDLE, NPU_FETCHING, NPU_LOADING, NPU_MULTIPLYING, NPU_ENDING };

/* The program that is being fetched. */
struct npu_program {
	uint32_t address; /* of the next word */
	uint32_t words;   /* that are left */
	uint32_t next_address;
	uint32_t next_amount;
};

/* A 1x1 convolution, as its registers described it: features [rows][channels] times weights [kernels][channels]. */
struct npu_task {
	bool fp16;
	uint8_t output;         /* NPU_DPU_DATA_FORMAT_OUT_PRECISION */
	bool reuse;             /* the features are in the buffer */
	uint32_t rows;
	uint32_t channels;      /* that memory holds, and */
	uint32_t real_channels; /* that are not zeros */
	uint32_t kernels;
	uint32_t results;       /* kernels that are stored, and */
	uint32_t real_results;  /* that are not zeros */
	uint32_t features;      /* addresses as the SMMU takes them */
	uint32_t weights;
	uint32_t output_address;
	uint32_t feature_stride; /* atoms from a surface to the next */
	uint32_t output_stride;
	int32_t convert_offset; /* DPU's OUT_CVT */
	int32_t convert_scale;
	uint32_t convert_shift;
};

/* Part of a step's output: contiguous for the SMMU and behind it. */
struct npu_run {
	uint32_t input;
	uint64_t output;
	uint32_t bytes;
};

/* Output that is translated and not written yet. */
struct npu_post {
	uint32_t bytes;
	uint32_t runs;
	struct npu_run *run; /* NPU_POST_RUNS */
	uint8_t *data;       /* NPU_POST_BYTES */
};

struct npu_core {
	uint32_t stream;
	uint8_t nsaid;
	unsigned interrupt;
	uint32_t word[NPU_GROUPS][NPU_REGISTER_COUNT]; /* by place in the register table; what has no groups is in the first */
	uint32_t raw_status;
	uint32_t fault;
	enum npu_phase phase;
	uint64_t due;           /* guest time of the next step */
	uint32_t tasks;         /* of the job */
	uint32_t tasks_done;
	uint32_t loaded;        /* surfaces of the features */
	uint32_t multiplied;    /* groups of kernels */
	uint32_t buffered;      /* bytes of features that the buffer holds, without the filling */
	struct npu_program program;
	struct npu_task task;
	struct npu_post post;
	uint32_t used;          /* bytes of the buffer that may not be zeros */
	uint8_t *buffer;        /* NPU_FEATURE_BYTES */
	struct npu_counters counters;
};

struct npu {
	bool present;
	uint32_t power;
	uint32_t clock;
	struct npu_core core[NPU_CORES];
	uint8_t *staging; /* weights that do not lie block by block within pages */
	uint8_t *sums;    /* of a step */
};

void npu_release(struct machine *machine);
/* Guest time of the next step; UINT64_MAX: none. */
uint64_t npu_next_due(struct machine *machine);
/* Takes every step that is due. */
void npu_advance(struct machine *machine);
/* Writes what is posted (CMD_SYNC). */
void npu_drain(struct machine *machine);

/* --- between its parts -------------------------------------------------------------------------------------------------- */

struct npu_register {
	uint16_t offset;
	uint32_t readable;
	uint32_t writable;
	uint32_t declared;
	uint32_t reset;
};

extern const struct npu_register npu_register_table[NPU_REGISTER_COUNT];

/* A register's place in the table; -1: none is declared there. */
int npu_find(uint64_t offset);
/* Whether programs may write it: it belongs to a block that the model implements, or only keeps. */
bool npu_is_absent(uint64_t offset);
/* A register of the group that executes. */
uint32_t npu_word(const struct npu_core *core, uint32_t offset);
/* Writes a register of the group that the block's pointer names. */
void npu_set(struct npu_core *core, int place, uint32_t value);
/* The pointers of the blocks that an operation enable starts move on; so do the executers at a task's end. */
void npu_move_pointers(struct npu_core *core);
void npu_move_executers(struct npu_core *core);

unsigned npu_number(struct machine *machine, const struct npu_core *core);
void npu_signal(struct machine *machine, struct npu_core *core);
/* The job ends without a result. */
void npu_fail(struct machine *machine, struct npu_core *core, enum npu_problem problem, uint32_t offset, uint32_t value);
void npu_start(struct machine *machine, struct npu_core *core);
void npu_abort(struct machine *machine, struct npu_core *core, uint32_t offset);

/* One step of fetching; when the program's end is reached, its task is in core->task and the phase has changed. */
uint32_t npu_fetch(struct machine *machine, struct npu_core *core);
void npu_begin_program(struct npu_core *core, uint32_t address, uint32_t amount);
/* False: the job has failed. */
bool npu_make_task(struct machine *machine, struct npu_core *core);
/* Whether its sizes fit the buffers. */
bool npu_task_fits(const struct npu_task *task);
uint32_t npu_kernels_a_group(const struct npu_task *task);
uint32_t npu_groups(const struct npu_task *task);
uint32_t npu_blocks(const struct npu_task *task);
uint32_t npu_surfaces(const struct npu_task *task);
/* Of whole blocks, as they are kept in the buffer. */
uint32_t npu_kept_surfaces(const struct npu_task *task);
uint32_t npu_results_a_surface(const struct npu_task *task);

/* Pages of DMA, page by page through the SMMU and the filters. False: the job has failed. */
bool npu_open(struct machine *machine, struct npu_core *core, uint32_t address, uint32_t bytes,
	      const uint8_t *pages[NPU_STEP_PAGES]);
void npu_copy(uint8_t *to, const uint8_t *const pages[], uint32_t address, uint32_t offset, uint32_t bytes);
/* Translates where more of the output goes, which is behind what the post already has. */
bool npu_post(struct machine *machine, struct npu_core *core, uint32_t address, uint32_t bytes);
/* Whether sums are stored as they are, all of them and one after another: then they are made where the post has them. */
bool npu_stores_sums(const struct npu_task *task);
/* Converts the sums of kernels first to end, which are in npu.sums, and posts them. */
bool npu_store(struct machine *machine, struct npu_core *core, uint32_t first, uint32_t end);
/* Writes what is posted. */
bool npu_land(struct machine *machine, struct npu_core *core);

#endif
