"""Rows with named columns, from CSV, JSON lines, Parquet, DataFrames and arrays, as features and labels.

reading     files and frames as blocks of rows, a few thousand at a time, each row with its place
scanning    what a column's values look like, and the kind of column that they speak for
dates       ISO 8601 dates in Python and in a graph
parsing     values as arrays, and which of them are none
columns     names, kinds and raw features
labels      label columns: the task that they speak for, and the labels themselves
loading     the above put together: scan everything, decide, then parse
division    training, validation and test sources of the rows
texts       tokens and their vocabularies
encoding    what is learned of each kind of column, and what the model gets of it
pipeline    all of it as a `Pipeline`, of which `table`, `text` and `multimodal` are forms

Files are read twice and never held whole as text: types are known of all rows, and the memory that the data will take
is known, before any of it is taken.
"""
