# SPDX-License-Identifier: Apache-2.0
"""Kills in the middle of work."""
