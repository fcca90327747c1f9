# SPDX-License-Identifier: Apache-2.0
"""Key protectors: who holds the key encryption keys."""
