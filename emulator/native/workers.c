/*
 * A pool of threads that is started when it is first needed. Items are claimed one at a time from one word that holds
 * the number of the call and the next item: a thread that comes late finds another number and claims nothing, so that
 * nobody waits for a thread that the host has not woken yet.
 */
#define _GNU_SOURCE /* CPU_COUNT */

#include "workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "look_ahead.h"
#include "tensor.h"

#define MOST_THREADS 64
#define SPINS 20000 /* looks for work before a thread sleeps: about a millisecond, more than lies between two calls */
#define PATIENCE 200 /* looks for the end before a thread lets others run: the host may have too few processors */
#define CLOSED UINT32_MAX

static struct {
	pthread_once_t once;
	pthread_mutex_t use; /* held by the call that has the workers */
	pthread_mutex_t sleep;
	pthread_cond_t wake;
	unsigned threads;
	atomic_uint sleepers;
	_Atomic(worker_task *) task;
	_Atomic(void *) context;
	_Atomic uint32_t items;
	_Atomic uint64_t next; /* number of the call << 32 | next item */
	_Atomic uint32_t done;
} pool = {
	.once = PTHREAD_ONCE_INIT,
	.use = PTHREAD_MUTEX_INITIALIZER,
	.sleep = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
	.next = CLOSED,
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Claims an item and does it. False: there is none. */
static bool work(void)
{
	uint64_t next = atomic_load(&pool.next);
	worker_task *task = atomic_load(&pool.task);
	void *context = atomic_load(&pool.context);

	if ((uint32_t)next >= atomic_load(&pool.items)) {
		return false;
	}
	if (atomic_compare_exchange_strong(&pool.next, &next, next + 1)) { /* then task and context are this call's */
		task(context, (uint32_t)next);
		atomic_fetch_add(&pool.done, 1);
	}
	return true;
}

static bool idle(void)
{
	return (uint32_t)atomic_load(&pool.next) >= atomic_load(&pool.items);
}

static void sleep_until_work(void)
{
	pthread_mutex_lock(&pool.sleep);
	atomic_fetch_add(&pool.sleepers, 1);
	while (idle()) {
		pthread_cond_wait(&pool.wake, &pool.sleep);
	}
	atomic_fetch_sub(&pool.sleepers, 1);
	pthread_mutex_unlock(&pool.sleep);
}

static void *serve(void *unused)
{
	STANDARD_FLOAT_MODE;
	(void)unused;
	for (unsigned spins = 0;;) {
		if (work() || look_ahead()) {
			spins = 0;
		} else if (++spins < SPINS) {
			pause_briefly();
		} else {
			sleep_until_work();
			spins = 0;
		}
	}
	return NULL;
}

static unsigned wanted_threads(void)
{
	const char *asked = getenv("FLEXSERVE_THREADS");
	long count = asked ? strtol(asked, NULL, 10) : 0;
	cpu_set_t processors;

	if (count < 1 && sched_getaffinity(0, sizeof processors, &processors) == 0) {
		count = CPU_COUNT(&processors);
	}
	return count < 1 ? 1 : count > MOST_THREADS ? MOST_THREADS : (unsigned)count;
}

/* Signals are the main thread's: Python handles them there. */
static void start(void)
{
	const unsigned wanted = wanted_threads();
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (pool.threads = 1; pool.threads < wanted; pool.threads++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, NULL)) {
			break;
		}
		pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A forked process has the caller's thread only. */
static void forget_threads(void)
{
	pool.threads = 1;
	pthread_mutex_init(&pool.use, NULL);
}

static void start_once(void)
{
	pthread_atfork(NULL, NULL, forget_threads);
	start();
}

unsigned workers_count(void)
{
	pthread_once(&pool.once, start_once);
	return pool.threads;
}

static void publish(worker_task *task, void *context, uint32_t items)
{
	const uint64_t call = (atomic_load(&pool.next) >> 32) + 1;

	atomic_store(&pool.next, call << 32 | CLOSED); /* before anything changes: whoever looks now claims nothing */
	atomic_store(&pool.task, task);
	atomic_store(&pool.context, context);
	atomic_store(&pool.items, items);
	atomic_store(&pool.done, 0);
	atomic_store(&pool.next, (call + 1) << 32);
	if (atomic_load(&pool.sleepers)) {
		pthread_mutex_lock(&pool.sleep);
		pthread_cond_broadcast(&pool.wake);
		pthread_mutex_unlock(&pool.sleep);
	}
}

void workers_run(worker_task *task, void *context, uint64_t items)
{
	if (items < 2 || items >= CLOSED || workers_count() < 2 || pthread_mutex_trylock(&pool.use)) {
		for (uint64_t item = 0; item < items; item++) {
			task(context, item);
		}
		return;
	}
	publish(task, context, (uint32_t)items);
	while (work()) {
	}
	for (unsigned spins = 0; atomic_load(&pool.done) < items; spins++) {
		if (spins < PATIENCE) {
			pause_briefly();
		} else {
			sched_yield();
		}
	}
	pthread_mutex_unlock(&pool.use);
}
