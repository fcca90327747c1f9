# SPDX-License-Identifier: Apache-2.0
"""Primitives providers, and the hybrid schemes that are composed over any of them."""
