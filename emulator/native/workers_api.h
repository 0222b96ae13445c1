/* Worker threads: see workers.c. cffi parses this file as it stands: plain declarations, no directives. */

/* Threads that work on large computations, the caller's among them: FLEXSERVE_THREADS, else one for each processor. */
unsigned workers_count(void);
