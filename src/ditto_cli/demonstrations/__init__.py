"""The demonstrations room."""
