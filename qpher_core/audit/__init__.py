# SPDX-License-Identifier: Apache-2.0
"""The tamper-evident audit log: entries, their chain, and its verification."""
