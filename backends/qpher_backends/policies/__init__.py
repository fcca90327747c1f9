# SPDX-License-Identifier: Apache-2.0
"""Policy engines beside the built-in rule chain."""
