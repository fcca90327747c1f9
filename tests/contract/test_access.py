# SPDX-License-Identifier: Apache-2.0
"""The contract of API keys and idempotency records, on every backend and every pair of them."""

from qpher_core.testing.test_access import *  # noqa: F403
