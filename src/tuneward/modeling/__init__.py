"""Tool: bases, tokenizer and chat template, LoRA, attention, generation."""
