/*
 * Guest memory as the tensor operations' workers see it: looked up at first, then plain host memory, page by page.
 */
#include "tensor.h"

#include <stdlib.h>

#define PAGE 4096u

static uint64_t page_count(const struct view *view)
{
	return view->bytes <= view->first ? 1 : 1 + (view->bytes - view->first + PAGE - 1) / PAGE;
}

static int64_t look_up(struct view *view, struct port *port, uint64_t address, uint64_t bytes, bool write)
{
	uint64_t left = bytes;

	memset(view, 0, sizeof *view);
	view->write = write;
	view->bytes = bytes;
	view->first = PAGE - address % PAGE;
	if (bytes == 0 || address + bytes < address) {
		return TENSOR_INVALID;
	}
	view->page = malloc(page_count(view) * sizeof *view->page);
	if (view->page == NULL) {
		return TENSOR_NO_MEMORY;
	}
	for (uint64_t i = 0; left != 0;) {
		uint64_t run = left;
		uint8_t *host = port_run(port, address, write, &run);

		if (host == NULL) {
			return TENSOR_ABORT;
		}
		address += run;
		left -= run;
		for (uint64_t page = i == 0 ? view->first : PAGE; run != 0; page = PAGE) {
			const uint64_t part = page < run ? page : run;

			view->page[i++] = host;
			host += part;
			run -= part;
		}
	}
	return TENSOR_OK;
}

static bool in_one_piece(const struct view *view)
{
	const uint8_t *expected = view->page[0] + view->first;

	for (uint64_t i = 1; i < page_count(view); i++, expected += PAGE) {
		if (view->page[i] != expected) {
			return false;
		}
	}
	return true;
}

/* Copies the range between its pages and `data`. */
static void copy(const struct view *view, uint8_t *data, bool to_guest)
{
	uint64_t done = 0;

	for (uint64_t i = 0; done < view->bytes; i++) {
		const uint64_t page = i == 0 ? view->first : PAGE;
		const uint64_t run = page < view->bytes - done ? page : view->bytes - done;

		memcpy(to_guest ? view->page[i] : data + done, to_guest ? data + done : view->page[i], run);
		done += run;
	}
}

int64_t view_pages(struct view *view, struct port *port, uint64_t address, uint64_t bytes)
{
	const int64_t status = look_up(view, port, address, bytes, false);

	if (status == TENSOR_OK && in_one_piece(view)) {
		view->flat = view->page[0];
	}
	return status;
}

int64_t view_flat(struct view *view, struct port *port, uint64_t address, uint64_t bytes, bool write)
{
	const int64_t status = look_up(view, port, address, bytes, write);

	if (status != TENSOR_OK) {
		return status;
	}
	if (in_one_piece(view)) {
		view->flat = view->page[0];
		return TENSOR_OK;
	}
	view->flat = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (view->flat == NULL) {
		return TENSOR_NO_MEMORY;
	}
	view->copied = true;
	copy(view, view->flat, false);
	return TENSOR_OK;
}

void view_close(struct view *view, bool keep)
{
	if (view->copied) {
		if (view->write && keep) {
			copy(view, view->flat, true);
		}
		scratch_clear(view->flat, view->bytes);
		free(view->flat);
	}
	free(view->page);
	memset(view, 0, sizeof *view);
}

static const void *view_paged(const struct view *view, uint64_t offset, uint64_t bytes, void *bounce)
{
	const uint64_t skipped = PAGE - view->first; /* of the first page */
	const uint64_t page = (offset + skipped) / PAGE;
	const uint64_t inside = (offset + skipped) % PAGE;
	const uint8_t *start = view->page[page] + (page == 0 ? inside - skipped : inside);
	uint64_t run = PAGE - inside;

	if (bytes <= run) {
		return start;
	}
	memcpy(bounce, start, run);
	for (uint64_t next = page + 1; run < bytes; next++) {
		const uint64_t part = bytes - run < PAGE ? bytes - run : PAGE;

		memcpy((uint8_t *)bounce + run, view->page[next], part);
		run += part;
	}
	return bounce;
}

const void *view_at(const struct view *view, uint64_t offset, uint64_t bytes, void *bounce)
{
	if (view->flat != NULL) {
		return view->flat + offset;
	}
	return view_paged(view, offset, bytes, bounce);
}
