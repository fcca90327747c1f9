# SPDX-License-Identifier: Apache-2.0
"""Fuzzing what reads bytes that others wrote (``make fuzz-files``)."""
