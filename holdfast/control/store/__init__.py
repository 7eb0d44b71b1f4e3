"""Durable truth. The only room that speaks SQL: one file per noun with its table and its queries."""
