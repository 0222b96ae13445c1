/*
 * The engine's performance monitors, which stand still. At every change of the exception level the engine brings its
 * counters up to date by the host's clock, which no guest may see, and which costs a tenth of an exception. The functions
 * that do it are exported, and bound when they are first called: those below take their place, as in code_hook.c. The
 * cycle counter that guests read is ours (time.c).
 */
struct CPUARMState; /* the engine's */

__attribute__((visibility("default"))) void pmu_op_start_aarch64(struct CPUARMState *state);
__attribute__((visibility("default"))) void pmu_op_finish_aarch64(struct CPUARMState *state);

void pmu_op_start_aarch64(struct CPUARMState *state)
{
	(void)state;
}

void pmu_op_finish_aarch64(struct CPUARMState *state)
{
	(void)state;
}
