# SPDX-License-Identifier: Apache-2.0
"""What an attacker would try."""
