# SPDX-License-Identifier: Apache-2.0
"""Moving what is encrypted to another key version or algorithm (docs/migration.md)."""
