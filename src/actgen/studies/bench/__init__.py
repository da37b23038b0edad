"""Recipes x arms x budgets x seeds -> results.jsonl, a table with intervals, figures and a page."""
