# SPDX-License-Identifier: Apache-2.0
"""Providers against each other."""
