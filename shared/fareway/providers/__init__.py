"""The wire of the aggregators. One client speaks to all that follow OpenAI's protocol."""
