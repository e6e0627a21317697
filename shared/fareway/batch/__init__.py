"""A file of prompts -> answers at half price, in the file's order.

In reading order: `records` and `rows` (the file), `store` and `job` (what a job keeps, so that it
can be gone on from), `lanes`, `slices` and `plan` (where each row goes, what it will cost),
`submit` and `realtime` (getting the answers), `results`, `charge`, `output` and `collect` (answers
and costs), `run` (all of it). Each step can be run again at any time: it does what is left.
"""
