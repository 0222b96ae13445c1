"""The shipped demo model: corpus, tokenizer, network, training, GGUF export and measurement, one file each."""
