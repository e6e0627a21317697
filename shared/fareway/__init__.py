"""Fareway: sends each prompt to the least model that will satisfy."""
