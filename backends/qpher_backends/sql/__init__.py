# SPDX-License-Identifier: Apache-2.0
"""The tables as SQL that every database takes; SQLite and PostgreSQL share them."""
