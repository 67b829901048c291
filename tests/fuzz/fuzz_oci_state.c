// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: the readers of a container's state and of a bundle's configuration. Any bytes may
 * come in; what a reader accepts keeps its promises and, written again, reads the same.
 */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_gen.h>

#include "lib/oci_config.h"
#include "lib/oci_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what, const struct hf_error *err)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_oci_state: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	abort();
}

static void put(yajl_gen gen, const char *text)
{
	require(yajl_gen_string(gen, (const unsigned char *)text, strlen(text)) ==
			yajl_gen_status_ok,
		"a text that cannot be written", NULL);
}

static void put_annotations(yajl_gen gen, bool has_unreachable, enum hf_unreachable on_unreachable)
{
	if (!has_unreachable)
		return;
	put(gen, "annotations");
	yajl_gen_map_open(gen);
	put(gen, HF_UNREACHABLE_ANNOTATION);
	put(gen, on_unreachable == HF_UNREACHABLE_CLOSE ? "close" : "abort");
	yajl_gen_map_close(gen);
}

static yajl_gen begin(void)
{
	yajl_gen gen = yajl_gen_alloc(NULL);

	require(gen && yajl_gen_config(gen, yajl_gen_validate_utf8, 1), "yajl_gen", NULL);
	yajl_gen_map_open(gen);
	return gen;
}

static const char *end(yajl_gen gen, size_t *len)
{
	const unsigned char *text = NULL;

	yajl_gen_map_close(gen);
	require(yajl_gen_get_buf(gen, &text, len) == yajl_gen_status_ok, "yajl_gen", NULL);
	return (const char *)text;
}

static void try_state(const char *text, size_t size)
{
	struct hf_oci_state state, again;
	struct hf_error err = HF_ERROR_INIT;
	yajl_gen gen;
	size_t len;

	if (hf_oci_state_read(&state, text, size, &err) < 0) {
		require(err.code < 0 && *err.text, "a failure without an error", NULL);
		return;
	}
	require(*state.id && *state.status && state.bundle[0] == '/' && state.pid >= 0,
		"a state that should have been refused", NULL);
	gen = begin();
	put(gen, "ociVersion");
	put(gen, "1");
	put(gen, "id");
	put(gen, state.id);
	put(gen, "status");
	put(gen, state.status);
	put(gen, "bundle");
	put(gen, state.bundle);
	put(gen, "pid");
	yajl_gen_integer(gen, state.pid);
	put_annotations(gen, state.has_unreachable, state.on_unreachable);
	text = end(gen, &len);
	require(hf_oci_state_read(&again, text, len, &err) == 0, "a state, written again", &err);
	require(memcmp(&state, &again, sizeof(state)) == 0, "another state", NULL);
	yajl_gen_free(gen);
}

static void put_netns(yajl_gen gen, const struct hf_oci_config *config)
{
	put(gen, "linux");
	yajl_gen_map_open(gen);
	put(gen, "namespaces");
	yajl_gen_array_open(gen);
	yajl_gen_map_open(gen);
	put(gen, "type");
	put(gen, config->netns == HF_OCI_NETNS_RUNTIME ? "pid" : "network");
	if (config->netns == HF_OCI_NETNS_PATH) {
		put(gen, "path");
		put(gen, config->netns_path);
	}
	yajl_gen_map_close(gen);
	yajl_gen_array_close(gen);
	yajl_gen_map_close(gen);
}

static void try_config(const char *text, size_t size)
{
	struct hf_oci_config config, again;
	struct hf_error err = HF_ERROR_INIT;
	yajl_gen gen;
	size_t len;

	if (hf_oci_config_read(&config, text, size, &err) < 0) {
		require(err.code < 0 && *err.text, "a failure without an error", NULL);
		return;
	}
	require((config.netns == HF_OCI_NETNS_PATH) == (config.netns_path[0] == '/'),
		"a path that should have been refused", NULL);
	gen = begin();
	put_netns(gen, &config);
	put_annotations(gen, config.has_unreachable, config.on_unreachable);
	text = end(gen, &len);
	require(hf_oci_config_read(&again, text, len, &err) == 0, "a configuration, written again",
		&err);
	require(memcmp(&config, &again, sizeof(config)) == 0, "another configuration", NULL);
	yajl_gen_free(gen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_state((const char *)data, size);
	try_config((const char *)data, size);
	return 0;
}
