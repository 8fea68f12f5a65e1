"""The trust boundary: a stranger's folder -> weights, configuration and tokenizer, each accounted for."""
