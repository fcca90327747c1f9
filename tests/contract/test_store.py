# SPDX-License-Identifier: Apache-2.0
"""The contract of stores, as others install it, on every backend here and every pair of them."""

from qpher_core.testing.test_entries import *  # noqa: F403
from qpher_core.testing.test_intents import *  # noqa: F403
from qpher_core.testing.test_keys import *  # noqa: F403
from qpher_core.testing.test_openings import *  # noqa: F403
from qpher_core.testing.test_policies import *  # noqa: F403
from qpher_core.testing.test_service import *  # noqa: F403
from qpher_core.testing.test_tenants import *  # noqa: F403
from qpher_core.testing.test_transactions import *  # noqa: F403
