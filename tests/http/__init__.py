# SPDX-License-Identifier: Apache-2.0
"""The HTTP API, over a real server on loopback."""
