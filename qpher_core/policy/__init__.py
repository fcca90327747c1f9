# SPDX-License-Identifier: Apache-2.0
"""Policy: typed rules, the chain that evaluates them, plans and algorithm profiles."""
