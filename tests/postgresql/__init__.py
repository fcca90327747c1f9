# SPDX-License-Identifier: Apache-2.0
"""What only PostgreSQL can do or suffer."""
