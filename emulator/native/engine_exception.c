/*
 * What the engine knows of the exception that it raised: the syndrome and the level that takes it. It has checked every
 * permission and trap bit of the instruction, but its interface gives a bare number. The rest stands in the CPU state
 * that uc_context_save copies, at a place that its headers do not tell. So it is looked for once, with two exceptions
 * whose syndromes are known, on an engine of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define PAGE 0x1000
#define SVC(immediate) (0xd4000001 | (immediate) << 5)
#define SVC_SYNDROME(immediate) (0x56000000 | (immediate))
#define FIRST 0x5a5a
#define SECOND 0x1234

/* As the engine lays it out, from the syndrome on (struct CPUARMState, `exception`). */
struct engine_state {
	uint32_t syndrome;
	uint32_t aarch32_status;
	uint64_t address;
	uint32_t target;
};

static size_t place; /* of the structure; 0: not found yet */

static void stop(uc_engine *engine, uint32_t number, void *user)
{
	(void)number;
	(void)user;
	uc_emu_stop(engine);
}

static bool is_at(const uc_context *context, size_t offset, uint32_t immediate)
{
	uint32_t value;

	memcpy(&value, (const char *)context + offset, sizeof value);
	return value == SVC_SYNDROME(immediate);
}

static bool find(uc_engine *engine)
{
	const uint32_t code[] = {SVC(FIRST), SVC(SECOND)};
	uc_context *first = NULL, *second = NULL;
	size_t bytes = uc_context_size(engine);
	size_t found = 0;
	uc_hook hook;

	if (uc_mem_map(engine, PAGE, PAGE, UC_PROT_ALL) == UC_ERR_OK &&
	    uc_mem_write(engine, PAGE, code, sizeof code) == UC_ERR_OK &&
	    uc_hook_add(engine, &hook, UC_HOOK_INTR, (void *)stop, NULL, 1, 0) == UC_ERR_OK &&
	    uc_context_alloc(engine, &first) == UC_ERR_OK && uc_context_alloc(engine, &second) == UC_ERR_OK &&
	    uc_emu_start(engine, PAGE, 0, 0, 1) == UC_ERR_OK && uc_context_save(engine, first) == UC_ERR_OK &&
	    uc_emu_start(engine, PAGE + 4, 0, 0, 1) == UC_ERR_OK && uc_context_save(engine, second) == UC_ERR_OK) {
		for (size_t at = 0; at + sizeof(struct engine_state) <= bytes; at += 4) {
			if (is_at(first, at, FIRST) && is_at(second, at, SECOND)) {
				found = found ? bytes : at; /* twice is as good as never */
			}
		}
	}
	if (first) {
		uc_context_free(first);
	}
	if (second) {
		uc_context_free(second);
	}
	place = found < bytes ? found : 0;
	return place != 0;
}

bool engine_exception_init(struct core *core)
{
	uc_engine *probe;

	if (uc_context_alloc(core->engine, &core->engine_context) != UC_ERR_OK) {
		return false;
	}
	if (!place && uc_open(UC_ARCH_ARM64, UC_MODE_ARM, &probe) == UC_ERR_OK) {
		if (uc_ctl_set_cpu_model(probe, UC_CPU_ARM64_A72) == UC_ERR_OK) {
			find(probe);
		}
		uc_close(probe);
	}
	return place != 0;
}

struct engine_exception engine_exception(struct core *core)
{
	struct engine_state state = {0};

	if (uc_context_save(core->engine, core->engine_context) == UC_ERR_OK) {
		memcpy(&state, (const char *)core->engine_context + place, sizeof state);
	}
	return (struct engine_exception){.syndrome = state.syndrome, .address = state.address, .target = state.target};
}
