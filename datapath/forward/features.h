/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/**
 * worker_features() - what workers can do for a guest: the virtio-net and ring features to offer
 * VIRTIO_NET_F_MQ, VHOST_USER_F_PROTOCOL_FEATURES and VHOST_F_LOG_ALL are the keeper's to add.
 */
uint64_t worker_features(void);
