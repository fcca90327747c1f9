# SPDX-License-Identifier: Apache-2.0
"""Parts that fail: nothing is released, nothing changes, and the error names which."""
