# SPDX-License-Identifier: Apache-2.0
"""The contract of moving entries out, on every backend and every pair of them."""

from qpher_core.testing.test_retention import *  # noqa: F403
