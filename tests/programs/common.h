/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things which hf-server and hf-peer both need. */
#ifndef HF_TEST_COMMON_H
#define HF_TEST_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define MS_NS   UINT64_C(1000000)
#define SEC_NS  UINT64_C(1000000000)
#define TICK_MS 10 /* how often limited streams get a new share */

uint64_t now_ns(void);
uint64_t wall_ns(void); /* CLOCK_REALTIME */

/* "a.b.c.d:port" or "[v6]:port"; the address must be numeric. */
bool parse_address(const char *text, struct sockaddr_storage *addr, socklen_t *len);
void format_address(const struct sockaddr_storage *addr, char *out, size_t size);

/* A number with an optional k, M or G (powers of 1024). */
bool parse_size(const char *text, uint64_t *value);

/* As many file descriptors as the system allows us. */
void raise_nofile(void);

/* No waiting for small segments: they would show as stalls of 40 ms. */
void set_nodelay(int fd);

/* Beyond net.core.*mem_max where we have the right to. */
void set_buffers(int fd, uint64_t sndbuf, uint64_t rcvbuf);

/* A rate limit: tokens grow with time, up to a tenth of a second's worth. */
struct bucket {
	uint64_t rate;  /* 0: no limit */
	uint64_t least; /* give nothing before there are so many */
	uint64_t last;
	double tokens;
};

void bucket_init(struct bucket *b, uint64_t rate, uint64_t now);
/* Gives so many at a time; a number says how much of that is there now, so that they differ. */
void bucket_pace(struct bucket *b, uint64_t least, uint64_t number);
/* How many of `want` bytes may pass now. */
size_t bucket_allows(struct bucket *b, size_t want, uint64_t now);
void bucket_use(struct bucket *b, size_t used);

#endif
