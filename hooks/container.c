// SPDX-License-Identifier: GPL-2.0-or-later
#include "hooks/hook.h"
#include "lib/cleanup.h"
#include "sys/bounded_read.h"
#include "sys/bundle.h"

int hf_container_read_state(struct hf_container *container, int input, struct hf_error *err)
{
	hf_autofree char *text = NULL;
	size_t len = 0;
	int ret = hf_bounded_read(input, HF_OCI_STATE_MAX, &text, &len, err);

	if (ret == 0)
		ret = hf_oci_state_read(&container->state, text, len, err);
	return ret < 0 ? hf_error_context(err, ret, "the container's state") : 0;
}

int hf_container_read_config(struct hf_container *container, struct hf_error *err)
{
	return hf_bundle_config(container->state.bundle, &container->config, err);
}
