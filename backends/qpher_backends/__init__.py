# SPDX-License-Identifier: Apache-2.0
"""The built-in backends: stores, key protectors and primitives providers."""
