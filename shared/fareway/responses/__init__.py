"""OpenAI's Responses API, as a translation: request -> chat request, chat answer -> response."""
