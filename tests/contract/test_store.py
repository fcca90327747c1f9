# SPDX-License-Identifier: Apache-2.0
"""The contract of stores, as others install it, on every backend here and every pair of them."""

from qpher_core.testing.test_store import *  # noqa: F403
