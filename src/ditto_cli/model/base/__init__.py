"""A base model's name -> its files, its weights, its tokenisation."""
